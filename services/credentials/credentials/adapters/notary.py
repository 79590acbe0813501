"""The issuer at work: its addresses, its keys, and the presses it signs badges with."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from credentials.adapters import keys, proofs
from credentials.adapters.keys import LocalSigner, NewKey, Signer
from credentials.adapters.templates import Press
from credentials.domain.badges import (
    Achievement,
    Issuer,
    achievement_document,
    badge_document,
    credential_name,
    instant,
)
from credentials.domain.dids import did_of

Document = dict[str, Any]  # Any: JSON

_SLOTS = ("credential_url", "subject", "valid_from", "awarded", "status_id", "status_list_url", "status_index")
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
        self._signers: dict[str, LocalSigner] = {}
        self._presses: OrderedDict[tuple[str, Achievement], Press] = OrderedDict()

    def credential_url(self, badge_id: UUID) -> str:
        return f"{self.url}/credentials/{badge_id}"

    def verification_url(self, badge_id: UUID) -> str:
        return f"{self.url}/verify/{badge_id}"

    def achievement_url(self, achievement_id: UUID) -> str:
        return f"{self.url}/achievements/{achievement_id}"

    def status_list_url(self, number: int) -> str:
        return f"{self.url}/status/revocation/{number}"

    def new_key(self, name: str) -> tuple[str, NewKey]:
        """A key and its verification method. A name that is itself a key would be trusted without looking here."""
        method = f"{self.issuer.did}#{name}"
        return method, keys.new_key(self._wrapping_key, method)

    def signer(self, verification_method: str, wrapped_key: bytes) -> Signer:
        """Raises WrappingKeyError."""
        if verification_method not in self._signers:
            self._signers[verification_method] = keys.unwrap(wrapped_key, self._wrapping_key, verification_method)
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
    ) -> Document:
        """The signed Open Badge; `now` becomes its version. Raises TemplateError, NotSignable."""
        url = self.status_list_url(place.list_number)
        values = {
            "credential_url": self.credential_url(badge_id),
            "subject": subject,
            "valid_from": instant(now),
            "awarded": instant(awarded_at),
            "status_id": f"{url}#{place.index}",
            "status_list_url": url,
            "status_index": str(place.index),
        }
        return self._press(achievement, signer).sign(values, now)

    def _press(self, achievement: Achievement, signer: Signer) -> Press:
        key = (signer.verification_method, achievement)
        press = self._presses.get(key)
        if press is None:
            described = achievement_document(achievement, self.issuer)
            name = credential_name(achievement)

            def build(values: Mapping[str, str]) -> Document:
                return badge_document(described, self.issuer, name=name, credits_=achievement.credits, **values)

            press = self._presses[key] = Press(build, _SLOTS, signer)
            if len(self._presses) > _MOST_PRESSES:
                self._presses.popitem(last=False)
        self._presses.move_to_end(key)
        return press
