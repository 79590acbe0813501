"""The credential issuer: its addresses, its keys, and the badge signers it signs with."""

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from credentials.adapters import keys
from credentials.adapters.keys import NewKey
from credentials.domain.badges import Achievement, Issuer, achievement_document, badge_document, credential_name
from openbadges import proofs, tokens
from openbadges.badges import identity_hash, status_entry
from openbadges.canonical_templates import BadgeSigner
from openbadges.dids import did_of
from openbadges.keys import Signer, Suite
from openbadges.signable import instant
from shared.secret_box import SecretBox

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
_MOST_BADGE_SIGNERS = 256


@dataclass(frozen=True)
class StatusListEntry:
    """A position in a status list."""

    list_number: int
    index: int


class CredentialIssuer:
    """Signs in the name of the awarding body. `public_url` is where its documents are found, and gives its DID;
    `secret_box` holds the keys."""

    def __init__(self, public_url: str, awarding_body: str, secret_box: SecretBox) -> None:
        self.url = public_url.rstrip("/")
        self.issuer = Issuer(did_of(self.url), awarding_body, self.url)
        self._secret_box = secret_box
        self._signers: dict[str, Signer] = {}
        self._badge_signers: OrderedDict[tuple[str, str, bool], tuple[Achievement, BadgeSigner]] = OrderedDict()

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

    def status_entry(self, entry: StatusListEntry) -> Document:
        """Return a status entry as it stands in its credential."""
        url = self.status_list_url(entry.list_number)
        return status_entry(f"{url}#{entry.index}", url, str(entry.index))

    def new_key(self, name: str, suite: Suite | str = Suite.EDDSA_RDFC_2022) -> tuple[str, NewKey]:
        """Return a new key's verification method, and the key.

        `name` must not be a key itself, such as a multikey: verifiers would trust it without reading our DID document.
        """
        method = self.verification_method(name)
        return method, keys.new_key(self._secret_box, method, suite)

    def verification_method(self, name: str) -> str:
        return f"{self.issuer.did}#{name}"

    def is_own_method(self, method: str | None) -> bool:
        """Return whether a verification method belongs to the issuer at its present address."""
        return method is not None and method.startswith(f"{self.issuer.did}#")

    def signer(
        self, verification_method: str, wrapped_key: bytes, suite: Suite | str = Suite.EDDSA_RDFC_2022
    ) -> Signer:
        """Return a signer with this key. Raises SecretBoxError."""
        if verification_method not in self._signers:
            opened = keys.unwrap(wrapped_key, self._secret_box, verification_method, suite)
            self._signers[verification_method] = opened
        return self._signers[verification_method]

    def sign(self, document: Mapping[str, Any], signer: Signer, now: datetime) -> Document:  # Any: JSON
        """Return the document with its proof."""
        return proofs.sign(document, signer, now)

    def sign_badge(
        self,
        achievement: Achievement,
        signer: Signer,
        *,
        badge_id: UUID,
        subject: str,
        status_entry: StatusListEntry,
        awarded_at: datetime,
        now: datetime,
        email: str | None = None,
    ) -> Document:
        """Return the signed badge; `now` becomes its version. Raises TemplateError, NotSignable.

        Each version has a fresh salt and carries it, so that nothing else needs to be stored to check the address.
        """
        url = self.status_list_url(status_entry.list_number)
        credential_url = self.credential_url(badge_id)
        values = {
            "credential_url": credential_url,
            "subject": subject,
            "valid_from": instant(now),
            "awarded": instant(awarded_at),
            "status_id": f"{url}#{status_entry.index}",
            "status_list_url": url,
            "status_index": str(status_entry.index),
            "refresh_url": f"{credential_url}/refresh",
        }
        if email is not None:
            salt = secrets.token_hex(_SALT_BYTES)
            values |= {"salt": salt, "identity_hash": identity_hash(email, salt)}
        return self._badge_signer(achievement, signer, identified=email is not None).sign(values, now)

    def badge_token(self, badge: Mapping[str, Any], signer: Signer) -> str:  # Any: JSON
        """Return the same badge as a token, which is refreshed as a token."""
        unsigned = {name: member for name, member in badge.items() if name != "proof"}
        refresh = unsigned["refreshService"]
        return tokens.sign({**unsigned, "refreshService": {**refresh, "id": f"{refresh['id']}.jwt"}}, signer)

    def status_list_token(self, status_list: Mapping[str, Any], signer: Signer) -> str:  # Any: JSON
        """Return the same status list as a token, which has an address of its own."""
        url = f"{status_list['id']}.jwt"
        unsigned = {name: member for name, member in status_list.items() if name != "proof"}
        return tokens.sign(
            {**unsigned, "id": url, "credentialSubject": {**unsigned["credentialSubject"], "id": f"{url}#list"}}, signer
        )

    def _badge_signer(self, achievement: Achievement, signer: Signer, *, identified: bool) -> BadgeSigner:
        key = (signer.verification_method, achievement.url, identified)
        known, badge_signer = self._badge_signers.get(key, (None, None))
        if badge_signer is None or known != achievement:
            described = achievement_document(achievement, self.issuer)
            name = credential_name(achievement)

            def build(values: Mapping[str, str]) -> Document:
                return badge_document(described, self.issuer, name=name, credits_=achievement.credits, **values)

            badge_signer = BadgeSigner(build, (*_SLOTS, *_IDENTITY) if identified else _SLOTS, signer)
            self._badge_signers[key] = (achievement, badge_signer)
            if len(self._badge_signers) > _MOST_BADGE_SIGNERS:
                self._badge_signers.popitem(last=False)
        self._badge_signers.move_to_end(key)
        return badge_signer
