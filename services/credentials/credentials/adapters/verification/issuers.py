"""Whose key is it? A key counts only if the credential's own issuer names it.

Source: did:web, did:key and did:jwk methods; W3C Controlled Identifiers 1.0. An https issuer vouches by its origin:
what another host says in its name counts for nothing.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit

from credentials.adapters.members import Members, id_of, listed, members
from credentials.adapters.verification import public_keys
from credentials.adapters.verification.examination import Signed
from credentials.adapters.verification.limits import Limits
from credentials.adapters.verification.outside import Web
from credentials.adapters.verification.plain_json import read_object
from credentials.adapters.verification.public_keys import PublicKey, UnusableKey
from credentials.adapters.verification.report import Broken
from shared.errors import Refusal

_MOST_METHODS = 100


def issuer_of(document: Members) -> str:
    """Raises Broken."""
    issuer = id_of(document.get("issuer"))
    if not isinstance(issuer, str) or not issuer:
        raise Broken("issuer_unknown", "It names no issuer.")
    return issuer


async def key_of(issuer: str, signed: Signed, web: Web, limits: Limits) -> PublicKey:
    """The key the signature is to be held against, as the issuer publishes it. Raises Broken, Unreachable."""
    try:
        match issuer.split(":", 2)[:2]:
            case ["did", "key"]:
                return _agreeing(public_keys.from_multibase(issuer.removeprefix("did:key:")), issuer, signed)
            case ["did", "jwk"]:
                return _agreeing(public_keys.from_did_jwk(issuer), issuer, signed)
            case ["did", "web"]:
                document = await _read(did_url(issuer), web, limits)
                return await _published(issuer, document, signed, web, limits)
            case ["https" | "http", _]:
                return await _of_origin(issuer, signed, web, limits)
            case _:
                raise Broken("issuer_unknown", "Its issuer is named in a way that is not read here.")
    except UnusableKey as error:
        raise Broken("key_unusable", "The issuer's key is of a kind that is not read here.") from error


def did_url(did: str) -> str:
    """Where a did:web document is. Raises Broken."""
    host, *path = did.removeprefix("did:web:").split(":")
    name = unquote(host)
    if not name or "/" in name or "@" in name or any("/" in unquote(part) or not part for part in path):
        raise Broken("issuer_unknown", "Its issuer is named in a way that is not read here.")
    scheme = "http" if name.rpartition(":")[0] in {"localhost", "127.0.0.1"} else "https"
    return f"{scheme}://{name}/{'/'.join([*path, 'did.json']) if path else '.well-known/did.json'}"


async def _published(issuer: str, document: Members, signed: Signed, web: Web, limits: Limits) -> PublicKey:
    if document.get("id") != issuer:
        raise Broken("issuer_unknown", "What was found at the issuer's address is of another.")
    methods = list(_methods(document))
    vouched = {id_of(entry) for entry in listed(document.get("assertionMethod"))}
    own = [method for method in methods if method.get("controller") == issuer and method.get("id") in vouched]
    if signed.jwk is not None:
        offered = public_keys.from_jwk(signed.jwk)
        if any(public_keys.same(offered, key) for key in _readable(own)):
            return offered
        raise _not_named()
    name = signed.method
    if name is not None and urlsplit(name).scheme == "https":  # a JWT may name a JWK set of the same host
        if urlsplit(name).netloc != urlsplit(did_url(issuer)).netloc:
            raise _not_named()
        return await _of_key_document(issuer, name, signed, web, limits)
    if name is not None and name.startswith("#"):
        name = issuer + name
    for method in own:
        kid = members(method.get("publicKeyJwk")).get("kid")
        if name is not None and (method.get("id") == name or (kid == name and not name.startswith("did:"))):
            return _key(method)
    raise _not_named()


async def _of_origin(issuer: str, signed: Signed, web: Web, limits: Limits) -> PublicKey:
    """An issuer with an https address: its keys are on its own host."""
    where = signed.method
    if where is None or urlsplit(where).scheme not in {"https", "http"}:
        # No address: a `kid` or `jwk` to be found in the set every issuer of JWTs publishes.
        parts = urlsplit(issuer)
        where = f"{parts.scheme}://{parts.netloc}/.well-known/jwks.json" + (f"#{where}" if where else "")
    elif _origin(where) != _origin(issuer):
        raise _not_named()
    return await _of_key_document(issuer, where, signed, web, limits)


async def _of_key_document(issuer: str, where: str, signed: Signed, web: Web, limits: Limits) -> PublicKey:
    """A controller document, a JWK set, a single verification method or a single JWK, all of the issuer's own host."""
    url, fragment = urldefrag(where)
    document = await _read(url, web, limits)
    if isinstance(document.get("keys"), list):
        return _of_set(listed(document["keys"]), fragment, signed)
    if "kty" in document:
        return _matching([public_keys.from_jwk(document)], signed)
    if "verificationMethod" in document or "assertionMethod" in document:
        if document.get("id") not in {issuer, url}:
            raise _not_named()
        vouched = {id_of(entry) for entry in listed(document.get("assertionMethod"))}
        for method in _methods(document):
            if method.get("id") == where and where in vouched and method.get("controller") in {issuer, url}:
                return _key(method)
        raise _not_named()
    if document.get("id") == where and document.get("controller") == issuer:
        return _key(document)
    raise _not_named()


def _of_set(entries: list[Any], fragment: str, signed: Signed) -> PublicKey:  # Any: JSON
    jwks = [members(entry) for entry in entries[:_MOST_METHODS]]
    names = {name for name in (fragment, signed.method) if name}
    named = [jwk for jwk in jwks if jwk.get("kid") in names] or ([] if fragment else jwks)
    if signed.jwk is None and len(named) != 1:
        raise _not_named()
    return _matching([public_keys.from_jwk(jwk) for jwk in named], signed)


def _matching(keys: list[PublicKey], signed: Signed) -> PublicKey:
    """The issuer's own key; where one came along with the JWT, the one that is the same."""
    if signed.jwk is None:
        return keys[0]
    offered = public_keys.from_jwk(signed.jwk)
    if not any(public_keys.same(offered, key) for key in keys):
        raise _not_named()
    return offered


def _agreeing(key: PublicKey, did: str, signed: Signed) -> PublicKey:
    """The DID is the key; the signature may only name that same one."""
    fragment = "0" if did.startswith("did:jwk:") else did.removeprefix("did:key:")
    if signed.method not in {None, did, f"{did}#{fragment}", f"#{fragment}"}:
        raise _not_named()
    return _matching([key], signed)


def _methods(document: Members) -> Iterator[Members]:
    entries = [*listed(document.get("verificationMethod")), *listed(document.get("assertionMethod"))]
    if len(entries) > _MOST_METHODS:
        raise Broken("issuer_unknown", "The issuer publishes more keys than can be looked through.")
    return map(members, entries)


def _readable(methods: list[Members]) -> Iterator[PublicKey]:
    for method in methods:
        if "publicKeyJwk" in method or "publicKeyMultibase" in method:
            yield _key(method)


def _key(method: Members) -> PublicKey:
    if "publicKeyJwk" in method:
        return public_keys.from_jwk(members(method["publicKeyJwk"]))
    return public_keys.from_multibase(str(method.get("publicKeyMultibase")))


async def _read(url: str, web: Web, limits: Limits) -> Members:
    try:
        return read_object(await web.get(url, limits.answer_bytes), limits)
    except Refusal as error:
        raise Broken("issuer_unknown", "What was found at the issuer's address cannot be read.") from error


def _not_named() -> Broken:
    return Broken("key_not_of_issuer", "The issuer does not name this key as one it signs with.")


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
