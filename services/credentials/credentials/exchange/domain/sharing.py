"""What a learner shows to whom: scope, expiry, PIN, withdrawal, and the disclosure itself.

Source: docs/rules.md, "Sharing".
"""

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from credentials.domain.policies import Sharing, years_after
from shared.digests import ARGON2ID
from shared.errors import Conflict, Forbidden, Gone, Invalid, NotFound, Unavailable

Document = dict[str, Any]  # Any: JSON


class NothingShared(Invalid):
    """A share names credit or awards, or the whole record."""

    remedy = "Name credit or awards, or share the whole record."


class UnknownRecipient(Invalid):
    """No partner that may read records has this client id."""

    remedy = "Check the client id with the partner, or share by link."


class UnknownCredit(Invalid):
    """Some of these are not on your record."""

    remedy = "Take ids that `GET /v1/credits` shows."


class ExpiryOutOfBounds(Invalid):
    """A share ends, and not later than the regulations allow."""

    remedy = "Choose an end within the bounds that `detail` names."


class ShareWithdrawn(Forbidden):
    """The learner withdrew their consent."""

    remedy = "Ask the learner to share it with you anew."


class ShareExpired(Forbidden):
    """The learner's consent has ended."""

    remedy = "Ask the learner to share it with you anew."


class LinkEnded(Gone):
    """The link was withdrawn, has expired, was locked, or was opened as often as it may be."""

    remedy = "Ask whoever sent you the link for a new one."


class PinNeeded(Forbidden):
    """This link opens with the PIN its sender gave."""

    remedy = "Send the PIN; whoever sent you the link knows it."


class WrongPin(Forbidden):
    """Not the PIN of this link; after a few wrong ones it is locked."""

    remedy = "Ask whoever sent you the link for its PIN before you try again: after a few wrong ones it is locked."


class NoSuchCode(NotFound):
    """No consent for you has this code, or the code is too old to be redeemed for the first time."""

    remedy = "Ask the learner for a new code, made for you."


class PaperShowsMore(Forbidden):
    """Paper shows the whole record with name, marks and attempts; the learner consented to less."""

    remedy = "Read the record as data, which shows what was consented to, or ask the learner to share all of it."


class AlreadyWithdrawn(Conflict):
    """What is withdrawn stays withdrawn; make a new share."""

    remedy = "Share it anew."


class NoKeyYet(Unavailable):
    """Nothing was ever signed here; the first badge brings the key."""


class ShareState(StrEnum):
    """Whether a consent still shows anything.

    - `live`: it does.
    - `expired`: its time is over.
    - `withdrawn`: the learner ended it.
    - `locked`: a wrong PIN was given too often.
    - `used_up`: the link was opened as often as it may be.
    """

    LIVE = "live"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    LOCKED = "locked"
    USED_UP = "used_up"


@dataclass(frozen=True)
class Scope:
    """What a share shows. `whole_record` includes whatever is added later; marks, attempts and the name only if so
    chosen."""

    credit_ids: frozenset[UUID] = frozenset()
    award_ids: frozenset[UUID] = frozenset()
    whole_record: bool = False
    with_marks: bool = False
    with_attempts: bool = False
    with_name: bool = False

    def covers_credit(self, credit_id: UUID) -> bool:
        """Return whether the share shows this credit."""
        return self.whole_record or credit_id in self.credit_ids

    def covers_award(self, award_id: UUID) -> bool:
        """Return whether the share shows this award."""
        return self.whole_record or award_id in self.award_ids

    @property
    def is_everything(self) -> bool:
        """Whether nothing is held back, so that the learner's own transcript shows no more."""
        return self.whole_record and self.with_marks and self.with_attempts and self.with_name

    def as_json(self) -> Document:
        """Return the scope as it is stored; `scope_of` reads it."""
        return {
            "credit_ids": sorted(map(str, self.credit_ids)),
            "award_ids": sorted(map(str, self.award_ids)),
            "whole_record": self.whole_record,
            "with_marks": self.with_marks,
            "with_attempts": self.with_attempts,
            "with_name": self.with_name,
        }


def scope_of(document: Mapping[str, Any]) -> Scope:  # Any: JSON
    """Return the scope stored in a share."""
    return Scope(
        credit_ids=frozenset(map(UUID, document["credit_ids"])),
        award_ids=frozenset(map(UUID, document["award_ids"])),
        whole_record=document["whole_record"],
        with_marks=document["with_marks"],
        with_attempts=document["with_attempts"],
        with_name=document["with_name"],
    )


def check_scope(scope: Scope, own_credits: Iterable[UUID], own_awards: Iterable[UUID]) -> None:
    """Check that a scope names something, and only the learner's own. Raises NothingShared, UnknownCredit."""
    if not (scope.whole_record or scope.credit_ids or scope.award_ids):
        raise NothingShared("name credit, awards or the whole record")
    foreign = (scope.credit_ids - set(own_credits)) | (scope.award_ids - set(own_awards))
    if foreign:
        raise UnknownCredit("some of these are not on your record", ids=sorted(map(str, foreign)))


def expiry(now: datetime, days: int, policy: Sharing) -> datetime:
    """Return the instant at which a share of so many days ends. Raises ExpiryOutOfBounds."""
    if not 0 < days <= (years_after(now, policy.longest_years) - now).days:
        raise ExpiryOutOfBounds(f"a share lasts at most {policy.longest_years} years")
    return now + timedelta(days=days)


def state_of(
    *,
    now: datetime,
    expires_at: datetime,
    withdrawn_at: datetime | None,
    locked_at: datetime | None,
    views_left: int | None,
) -> ShareState:
    """Return the state of a share. It has expired from the instant `expires_at` on.

    Withdrawal comes before expiry, for it was the learner's decision.
    """
    if withdrawn_at is not None:
        return ShareState.WITHDRAWN
    if expires_at <= now:
        return ShareState.EXPIRED
    if locked_at is not None:
        return ShareState.LOCKED
    if views_left is not None and views_left <= 0:
        return ShareState.USED_UP
    return ShareState.LIVE


def check_consent(state: ShareState) -> None:
    """Check that a consent is live. Raises ShareWithdrawn, ShareExpired."""
    if state is ShareState.WITHDRAWN:
        raise ShareWithdrawn("the learner withdrew their consent")
    if state is not ShareState.LIVE:
        raise ShareExpired("the learner's consent has ended")


# Secrets: shown once, kept as a hash


def new_token() -> str:
    """Return 256 random bits, as text for a link's address."""
    return secrets.token_urlsafe(32)


_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # letters mistaken for digits are left out


def new_code() -> str:
    """Return 80 random bits as letters in four groups, to be read out or typed.

    A code is worth nothing to anybody but the partner it is for.
    """
    letters = [secrets.choice(_LETTERS) for _ in range(16)]
    return "-".join("".join(letters[at : at + 4]) for at in range(0, 16, 4))


def normal_code(typed: str) -> str:
    """Return a code as it was given out, from what somebody typed."""
    letters = re.sub(r"[\s-]", "", typed).upper().translate(str.maketrans("OIL", "011"))
    return "-".join(letters[at : at + 4] for at in range(0, len(letters), 4))


class ShareSecrets:
    """Makes and compares what is stored of a link's token, a partner's code and a PIN; without the key it gives no
    clue.

    `key` is in no database. What the previous release stored (SHA-256 of secrets, scrypt of PINs) is still recognised,
    for as long as a share may last.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._hasher = PasswordHasher(**ARGON2ID)

    def digest(self, secret: str) -> bytes:
        """Return the HMAC-SHA-256 of a token or a code."""
        return hmac.digest(self._key, b"share secret\0" + secret.encode(), "sha256")

    def digests(self, secret: str) -> tuple[bytes, bytes]:
        """Return every form in which a token or a code may be stored."""
        return self.digest(secret), hashlib.sha256(secret.encode()).digest()

    def pin_hash(self, pin: str, share_id: UUID) -> bytes:
        """Return the Argon2id hash of a PIN. Slow: call it off the event loop."""
        return self._hasher.hash(self._peppered(pin, share_id)).encode()

    def pin_fits(self, pin: str, stored: bytes, share_id: UUID) -> bool:
        """Return whether a PIN matches its stored hash. Slow: call it off the event loop."""
        if not stored.startswith(b"$argon2id$"):
            salt = hmac.digest(self._key, f"share pin {share_id}".encode(), "sha256")
            return hmac.compare_digest(hashlib.scrypt(pin.encode(), salt=salt, n=2**14, r=8, p=1), stored)
        try:
            return self._hasher.verify(stored, self._peppered(pin, share_id))
        except VerifyMismatchError:
            return False

    def _peppered(self, pin: str, share_id: UUID) -> bytes:
        return hmac.digest(self._key, f"share pin {share_id}\0{pin}".encode(), "sha256")


def check_paper(scope: Scope) -> None:
    """Check that a scope leaves out nothing that paper shows. Raises PaperShowsMore."""
    if not scope.is_everything:
        raise PaperShowsMore("the consent leaves out what paper shows; fetch the record or its .clr")


# The disclosure


@dataclass(frozen=True)
class Line:
    """A credit as it stands now, with what the course taught if it is one of ours."""

    credit_id: UUID
    entry: Document
    mark: str | None
    attempt: int | None


@dataclass(frozen=True)
class Held:
    """An award as it stands now."""

    award_id: UUID
    entry: Document
    classification: str


def pairwise_subject(learner_id: UUID, recipient: str) -> str:
    """Return the subject id of one learner for one recipient, which does not lead to the id other recipients hold."""
    return f"urn:uuid:{uuid5(learner_id, recipient)}"


def shown(scope: Scope, lines: Iterable[Line], awards: Iterable[Held]) -> Document:
    """Return the credits and awards within the scope, each with only what the scope discloses.

    Without the name it discloses neither badges, which bear a hash of the holder's address, nor a certificate number,
    under which a name can be compared.
    """
    nameless: Document = {} if scope.with_name else {"badge_id": None}
    credits_: list[Document] = []
    for line in lines:
        if scope.covers_credit(line.credit_id):
            entry = dict(line.entry) | nameless
            if scope.with_marks:
                entry["mark"] = line.mark
            if scope.with_attempts:
                entry["attempt"] = line.attempt
            credits_.append(entry)
    held = [
        dict(award.entry)
        | ({"classification": award.classification} if scope.with_marks else {})
        | (nameless and {**nameless, "certificate_number": None})
        for award in awards
        if scope.covers_award(award.award_id)
    ]
    return {"credits": credits_, "awards": held}


def results_shown(scope: Scope, entry: Mapping[str, Any]) -> Document:  # Any: JSON
    """Return a transcript's credit without the mark or the attempt that the scope does not disclose."""
    return {
        **entry,
        "mark": entry["mark"] if scope.with_marks else None,
        "attempt": entry["attempt"] if scope.with_attempts else None,
    }


def packed(document: Document) -> bytes:
    """Return the bytes that are hashed and signed: JSON with sorted members and no spaces, in UTF-8 (RFC 8785 for
    these)."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sha256_of(document: Document) -> str:
    """Return the SHA-256 of the packed document, in hex."""
    return hashlib.sha256(packed(document)).hexdigest()
