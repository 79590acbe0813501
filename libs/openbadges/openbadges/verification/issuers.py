"""Find the key of a credential's issuer. A key counts only if that issuer names it, and only while it does.

Source: did:web, did:key and did:jwk methods; W3C Controlled Identifiers 1.0. A did:web issuer vouches by its own DID
document, an https issuer by the document at its own address or the key set at the well-known address of its origin.
What lies elsewhere on the host counts for nothing by itself, since others may place files there; nor does what another
host says, be it by a redirect.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote, urldefrag, urlsplit

from openbadges.errors import BadgeError
from openbadges.members import Members, id_of, listed, members
from openbadges.verification import public_keys
from openbadges.verification.limits import Limits
from openbadges.verification.outside import Web, origin
from openbadges.verification.parsing import Signed
from openbadges.verification.period import has_ended
from openbadges.verification.plain_json import read_object
from openbadges.verification.public_keys import PublicKey, UnusableKey
from openbadges.verification.report import Broken

_MOST_METHODS = 100
_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?")
_STEP = re.compile(r"([A-Za-z0-9._~-]|%(?!2[Ff35]|3[Ff]|5[Cc]|[01])[0-9A-Fa-f]{2})+")
"""A step of a path, without characters that would lead elsewhere in an address."""


_LONG_AGO = "1970-01-01T00:00:00Z"


def issuer_of(document: Members) -> str:
    """Return the id of a credential's issuer. Raises Broken."""
    issuer = id_of(document.get("issuer"))
    if not isinstance(issuer, str) or not issuer:
        raise Broken("issuer_unknown", "It names no issuer.")
    return issuer


async def key_of(issuer: str, signed: Signed, web: Web, limits: Limits, now: datetime) -> PublicKey:
    """Return the key to check the signature with, as the issuer publishes it now. Raises Broken, Unreachable."""
    asked = _Asked(issuer, signed, web, limits, now)
    try:
        match issuer.split(":", 2)[:2]:
            case ["did", "key"]:
                return asked.agreeing(public_keys.from_multibase(issuer.removeprefix("did:key:")))
            case ["did", "jwk"]:
                return asked.agreeing(public_keys.from_did_jwk(issuer))
            case ["did", "web"]:
                return await asked.of_did_web()
            case ["https" | "http", _]:
                return await asked.of_address()
            case _:
                raise Broken("issuer_unknown", "Its issuer is named in a way that is not read here.")
    except UnusableKey as error:
        raise Broken("key_unusable", "The issuer's key is of a kind that is not read here.") from error


def did_url(did: str) -> str:
    """Return the address of a did:web document. Raises Broken."""
    host, *path = did.removeprefix("did:web:").split(":")
    name = unquote(host)
    if not _HOST.fullmatch(name) or any(not _STEP.fullmatch(part) or unquote(part) in {".", ".."} for part in path):
        raise Broken("issuer_unknown", "Its issuer is named in a way that is not read here.")
    scheme = "http" if name.rpartition(":")[0] in {"localhost", "127.0.0.1"} else "https"
    return f"{scheme}://{name}/{'/'.join([*path, 'did.json']) if path else '.well-known/did.json'}"


@dataclass(frozen=True)
class _Asked:
    """The search for one issuer's key for one signature."""

    issuer: str
    signed: Signed
    web: Web
    limits: Limits
    now: datetime

    def agreeing(self, key: PublicKey) -> PublicKey:
        """Return the key that the DID itself is; the signature may name no other."""
        did = self.issuer
        fragment = "0" if did.startswith("did:jwk:") else did.removeprefix("did:key:")
        if self.signed.method not in {None, did, f"{did}#{fragment}", f"#{fragment}", fragment}:
            raise _not_named()
        return self._that_came([key]) or key

    async def of_did_web(self) -> PublicKey:
        """Return the key that a did:web issuer's DID document names."""
        address = did_url(self.issuer)
        own = self._own_methods(await self._read(address))
        came = self._that_came(list(_readable(method for method in own if self._holds(method))))
        if came is not None:
            return came
        name = self.signed.method or ""
        if urlsplit(name).scheme == "https":  # a JWT may name a JWK set of the same host
            if not _is_same_origin(name, address):
                raise _not_named()
            named = await self._of_set(name)
            if any(public_keys.same(named, key) for key in _readable(filter(self._holds, own))):
                return named
            raise _not_named()
        wanted = self._absolute(name)
        by_kid = bool(name) and not name.startswith("did:")
        return self._held(
            [
                method
                for method in own
                if method["id"] == wanted or (by_kid and members(method.get("publicKeyJwk")).get("kid") == name)
            ]
        )

    async def of_address(self) -> PublicKey:
        """Return the key of an issuer with an https address, from the key set of its origin or the issuer's own
        document."""
        parts = urlsplit(self.issuer)
        well_known = f"{parts.scheme}://{parts.netloc}/.well-known/jwks.json"
        where = self.signed.method
        if where is None or urlsplit(where).scheme not in {"https", "http"}:
            # No address: look for a `kid` or `jwk` in the set that every issuer of JWTs publishes.
            where = well_known + (f"#{where}" if where else "")
        elif not _is_same_origin(where, self.issuer):
            raise _not_named()
        if urldefrag(where).url == well_known:
            return await self._of_set(where)
        document = await self._read(urldefrag(self.issuer).url)
        key = self._held([method for method in self._own_methods(document) if method["id"] == where])
        return self._that_came([key]) or key

    def _own_methods(self, document: Members) -> list[Members]:
        """Return the verification methods with which the issuer's own document lets it assert something. Raises
        Broken."""
        if document.get("id") != self.issuer:
            raise Broken("issuer_unknown", "What was found at the issuer's address is of another.")
        entries = [*listed(document.get("verificationMethod")), *listed(document.get("assertionMethod"))]
        if len(entries) > _MOST_METHODS:
            raise Broken("issuer_unknown", "The issuer publishes more keys than can be looked through.")
        # A document may list anything besides: entries without a name are ignored.
        vouched = {self._absolute(id_of(entry)) for entry in listed(document.get("assertionMethod"))} - {None}
        methods: list[Members] = [{**one, "id": self._absolute(one.get("id"))} for one in map(members, entries)]
        held = self._taking_back(methods)
        return [one for one in held if listed(one.get("controller")) == [self.issuer] and one["id"] in vouched]

    def _taking_back(self, methods: list[Members]) -> list[Members]:
        """Return the same methods, with a key that is revoked under one name revoked under every other."""
        taken_back = list(_readable(one for one in methods if self._is_revoked(one)))
        return [{**one, "revoked": _LONG_AGO} if _is_among(one, taken_back) else one for one in methods]

    def _absolute(self, name: object) -> str | None:
        if not isinstance(name, str) or not name:
            return None
        return self.issuer + name if name.startswith("#") else name

    async def _of_set(self, where: str) -> PublicKey:
        """Return the key that is meant in a JWK set or a single JWK, or the JWT's own key if it is one of them."""
        url, fragment = urldefrag(where)
        document = await self._read(url)
        entries = [document] if "kty" in document else listed(document.get("keys"))
        methods = self._taking_back([{"publicKeyJwk": entry} for entry in map(members, entries[:_MOST_METHODS])])
        names = [name for name in (fragment, self.signed.method) if name]
        named = [one for one in methods if one["publicKeyJwk"].get("kid") in names]
        meant = named or ([] if fragment else methods)
        came = self._that_came(list(_readable(filter(self._holds, meant))))
        if came is not None:
            return came
        return self._held(named or (meant if len(meant) == 1 else []))

    def _that_came(self, keys: list[PublicKey]) -> PublicKey | None:
        """Return the key that came with the JWT, if one did; it must be one of these. Raises Broken."""
        if self.signed.jwk is None:
            return None
        offered = public_keys.from_jwk(self.signed.jwk)
        if not any(public_keys.same(offered, key) for key in keys):
            raise _not_named()
        return offered

    def _holds(self, method: Members) -> bool:
        """Return whether the issuer has not withdrawn this key."""
        return not has_ended(method, self.now) and not has_ended(members(method.get("publicKeyJwk")), self.now)

    def _is_revoked(self, method: Members) -> bool:
        said = (method, members(method.get("publicKeyJwk")))
        return any(has_ended({"revoked": one.get("revoked")}, self.now) for one in said)

    def _held(self, named: list[Members]) -> PublicKey:
        """Return the key that made the signature, among those with the name; if none did, any, so that the proof
        fails."""
        if not named:
            raise _not_named()
        held = [method for method in named if self._holds(method)]
        if not held:
            raise Broken("key_withdrawn", "The issuer has withdrawn the key it was signed with.")
        if len(held) > self.limits.keys_tried:
            raise Broken("key_not_of_issuer", "The issuer publishes more keys under one name than are tried.")
        known = list(_readable(held)) or [_key(held[0])]
        signed = self.signed
        made = (key for key in known if public_keys.verifies(key, signed.algorithm, signed.data, signed.signature))
        return next(made, known[0])

    async def _read(self, url: str) -> Members:
        try:
            return read_object(await self.web.get(url, self.limits.answer_bytes, own_word=True), self.limits)
        except BadgeError as error:
            raise Broken("issuer_unknown", "What was found at the issuer's address cannot be read.") from error


def _is_among(method: Members, keys: list[PublicKey]) -> bool:
    return any(public_keys.same(own, key) for own in _readable([method]) for key in keys)


def _readable(methods: Iterable[Members]) -> Iterator[PublicKey]:
    """Yield the keys of kinds that are read here; an issuer may publish others besides."""
    for method in methods:
        try:
            yield _key(method)
        except UnusableKey:
            continue


def _key(method: Members) -> PublicKey:
    if "publicKeyJwk" in method:
        return public_keys.from_jwk(members(method["publicKeyJwk"]))
    return public_keys.from_multibase(str(method.get("publicKeyMultibase")))


def _not_named() -> Broken:
    return Broken("key_not_of_issuer", "The issuer does not name this key as one it signs with.")


def _is_same_origin(url: str, other: str) -> bool:
    try:
        return origin(url) == origin(other)
    except ValueError:
        return False
