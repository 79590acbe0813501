"""The issuer at work: its addresses, its keys, and the presses it signs badges with."""

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from credentials.adapters import keys, proofs, tokens
from credentials.adapters.keys import NewKey, Signer
from credentials.adapters.templates import Press
from credentials.domain.badges import (
    Achievement,
    Issuer,
    achievement_document,
    badge_document,
    credential_name,
    identity_hash,
    instant,
    status_entry,
)
from credentials.domain.dids import did_of
from credentials.domain.keys import Suite

Document = dict[str, Any]  # Any: JSON

_SLOTS = (
    "credential_url",
    "subject",
    "valid_from",
    "awarded",
    "status_id",
    "status_list_url",
    "status_index",
    "refresh_url",
)
_IDENTITY = ("identity_hash", "salt")
_SALT_BYTES = 16
_MOST_PRESSES = 256


@dataclass(frozen=True)
class Place:
    """A position in a status list."""

    list_number: int
    index: int


class Notary:
    """Signs in the name of the awarding body. `public_url` is where its documents are found, and names it."""

    def __init__(self, public_url: str, awarding_body: str, wrapping_key: bytes) -> None:
        self.url = public_url.rstrip("/")
        self.issuer = Issuer(did_of(self.url), awarding_body, self.url)
        self._wrapping_key = wrapping_key
        self._signers: dict[str, Signer] = {}
        self._presses: OrderedDict[tuple[str, str, bool], tuple[Achievement, Press]] = OrderedDict()

    def credential_url(self, badge_id: UUID) -> str:
        return f"{self.url}/credentials/{badge_id}"

    def verification_url(self, badge_id: UUID) -> str:
        return f"{self.url}/verify/{badge_id}"

    def document_url(self, number: str) -> str:
        return f"{self.url}/documents/{number}"

    def achievement_url(self, achievement_id: UUID) -> str:
        return f"{self.url}/achievements/{achievement_id}"

    def status_list_url(self, number: int) -> str:
        return f"{self.url}/status/revocation/{number}"

    def status_entry(self, place: Place) -> Document:
        """As it stands in a credential that has this place."""
        url = self.status_list_url(place.list_number)
        return status_entry(f"{url}#{place.index}", url, str(place.index))

    def new_key(self, name: str, suite: Suite | str = Suite.EDDSA_RDFC_2022) -> tuple[str, NewKey]:
        """A key and its verification method. A name that is itself a key would be trusted without looking here."""
        method = self.verification_method(name)
        return method, keys.new_key(self._wrapping_key, method, suite)

    def verification_method(self, name: str) -> str:
        return f"{self.issuer.did}#{name}"

    def is_own_method(self, method: str | None) -> bool:
        """Whether this verification method is one of the issuer as it is addressed now."""
        return method is not None and method.startswith(f"{self.issuer.did}#")

    def signer(
        self, verification_method: str, wrapped_key: bytes, suite: Suite | str = Suite.EDDSA_RDFC_2022
    ) -> Signer:
        """Raises WrappingKeyError."""
        if verification_method not in self._signers:
            opened = keys.unwrap(wrapped_key, self._wrapping_key, verification_method, suite)
            self._signers[verification_method] = opened
        return self._signers[verification_method]

    def sign(self, document: Mapping[str, Any], signer: Signer, now: datetime) -> Document:  # Any: JSON
        return proofs.sign(document, signer, now)

    def sign_badge(
        self,
        achievement: Achievement,
        signer: Signer,
        *,
        badge_id: UUID,
        subject: str,
        place: Place,
        awarded_at: datetime,
        now: datetime,
        email: str | None = None,
    ) -> Document:
        """The signed Open Badge; `now` becomes its version. Raises TemplateError, NotSignable.

        The salt is fresh in each version and stands in it, so that nothing else need be kept to check the address.
        """
        url = self.status_list_url(place.list_number)
        credential_url = self.credential_url(badge_id)
        values = {
            "credential_url": credential_url,
            "subject": subject,
            "valid_from": instant(now),
            "awarded": instant(awarded_at),
            "status_id": f"{url}#{place.index}",
            "status_list_url": url,
            "status_index": str(place.index),
            "refresh_url": f"{credential_url}/refresh",
        }
        if email is not None:
            salt = secrets.token_hex(_SALT_BYTES)
            values |= {"salt": salt, "identity_hash": identity_hash(email, salt)}
        return self._press(achievement, signer, identified=email is not None).sign(values, now)

    def badge_token(self, badge: Mapping[str, Any], signer: Signer) -> str:  # Any: JSON
        """The same credential as a token: the same version, refreshed as a token."""
        unsigned = {name: member for name, member in badge.items() if name != "proof"}
        refresh = unsigned["refreshService"]
        return tokens.sign({**unsigned, "refreshService": {**refresh, "id": f"{refresh['id']}.jwt"}}, signer)

    def status_list_token(self, status_list: Mapping[str, Any], signer: Signer) -> str:  # Any: JSON
        """The same list as a token, which has an address of its own."""
        url = f"{status_list['id']}.jwt"
        unsigned = {name: member for name, member in status_list.items() if name != "proof"}
        return tokens.sign(
            {**unsigned, "id": url, "credentialSubject": {**unsigned["credentialSubject"], "id": f"{url}#list"}}, signer
        )

    def _press(self, achievement: Achievement, signer: Signer, *, identified: bool) -> Press:
        key = (signer.verification_method, achievement.url, identified)
        known, press = self._presses.get(key, (None, None))
        if press is None or known != achievement:
            described = achievement_document(achievement, self.issuer)
            name = credential_name(achievement)

            def build(values: Mapping[str, str]) -> Document:
                return badge_document(described, self.issuer, name=name, credits_=achievement.credits, **values)

            press = Press(build, (*_SLOTS, *_IDENTITY) if identified else _SLOTS, signer)
            self._presses[key] = (achievement, press)
            if len(self._presses) > _MOST_PRESSES:
                self._presses.popitem(last=False)
        self._presses.move_to_end(key)
        return press
