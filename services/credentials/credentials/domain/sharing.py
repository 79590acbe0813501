"""What a learner shows to whom: scope, expiry, PIN, withdrawal, and the record shown. Source: rules §5, §6.18."""

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

from credentials.domain.policies import Sharing
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
    LIVE = "live"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    LOCKED = "locked"
    """Too many wrong PINs."""
    USED_UP = "used_up"
    """Opened as often as it may be."""


@dataclass(frozen=True)
class Scope:
    """What is shown. `whole_record` takes in whatever comes later; marks, attempts and the name only where said so."""

    credit_ids: frozenset[UUID] = frozenset()
    award_ids: frozenset[UUID] = frozenset()
    whole_record: bool = False
    with_marks: bool = False
    with_attempts: bool = False
    with_name: bool = False

    def covers_credit(self, credit_id: UUID) -> bool:
        return self.whole_record or credit_id in self.credit_ids

    def covers_award(self, award_id: UUID) -> bool:
        return self.whole_record or award_id in self.award_ids

    @property
    def is_everything(self) -> bool:
        """Nothing is held back, so that the learner's own paper shows no more."""
        return self.whole_record and self.with_marks and self.with_attempts and self.with_name

    def as_json(self) -> Document:
        return {
            "credit_ids": sorted(map(str, self.credit_ids)),
            "award_ids": sorted(map(str, self.award_ids)),
            "whole_record": self.whole_record,
            "with_marks": self.with_marks,
            "with_attempts": self.with_attempts,
            "with_name": self.with_name,
        }


def scope_of(document: Mapping[str, Any]) -> Scope:  # Any: JSON
    return Scope(
        credit_ids=frozenset(map(UUID, document["credit_ids"])),
        award_ids=frozenset(map(UUID, document["award_ids"])),
        whole_record=document["whole_record"],
        with_marks=document["with_marks"],
        with_attempts=document["with_attempts"],
        with_name=document["with_name"],
    )


def check_scope(scope: Scope, own_credits: Iterable[UUID], own_awards: Iterable[UUID]) -> None:
    """Raises NothingShared, UnknownCredit."""
    if not (scope.whole_record or scope.credit_ids or scope.award_ids):
        raise NothingShared("name credit, awards or the whole record")
    foreign = (scope.credit_ids - set(own_credits)) | (scope.award_ids - set(own_awards))
    if foreign:
        raise UnknownCredit("some of these are not on your record", ids=sorted(map(str, foreign)))


def expiry(now: datetime, days: int, policy: Sharing) -> datetime:
    """Raises ExpiryOutOfBounds."""
    if not timedelta() < timedelta(days=days) <= policy.longest:
        raise ExpiryOutOfBounds(f"a share lasts at most {policy.longest.days} days")
    return now + timedelta(days=days)


def state_of(
    *,
    now: datetime,
    expires_at: datetime,
    withdrawn_at: datetime | None,
    locked_at: datetime | None,
    views_left: int | None,
) -> ShareState:
    """Withdrawal is told before expiry: it was the learner's word. The expiry instant itself is outside."""
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
    """For partners, who are told why. Raises ShareWithdrawn, ShareExpired."""
    if state is ShareState.WITHDRAWN:
        raise ShareWithdrawn("the learner withdrew their consent")
    if state is not ShareState.LIVE:
        raise ShareExpired("the learner's consent has ended")


# Secrets: shown once, kept as a hash


def new_token() -> str:
    """256 random bits, fit for an address."""
    return secrets.token_urlsafe(32)


_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # letters that are read alike are left out


def new_code() -> str:
    """80 random bits in four groups: read out or typed; worth nothing to anybody but the partner it is for."""
    letters = [secrets.choice(_LETTERS) for _ in range(16)]
    return "-".join("".join(letters[at : at + 4]) for at in range(0, 16, 4))


def normal_code(typed: str) -> str:
    """As it was given, however it was typed."""
    letters = re.sub(r"[\s-]", "", typed).upper().translate(str.maketrans("OIL", "011"))
    return "-".join(letters[at : at + 4] for at in range(0, len(letters), 4))


def fingerprint(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def pin_hash(pin: str, share_id: UUID, key: bytes) -> bytes:
    """Slow, salted per share, and useless to guess at without the key, which is kept apart from the database."""
    salt = hmac.digest(key, f"share pin {share_id}".encode(), "sha256")
    return hashlib.scrypt(pin.encode(), salt=salt, n=2**14, r=8, p=1)


def pin_fits(pin: str, kept: bytes, share_id: UUID, key: bytes) -> bool:
    return hmac.compare_digest(pin_hash(pin, share_id, key), kept)


def check_paper(scope: Scope) -> None:
    """Raises PaperShowsMore."""
    if not scope.is_everything:
        raise PaperShowsMore("the consent leaves out what paper shows; fetch the record or its .clr")


# The record that is shown


@dataclass(frozen=True)
class Line:
    """A credit as it stands now, with what the course taught where it is one of ours."""

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
    """The same for one learner and one recipient, and no key to what other recipients hold."""
    return f"urn:uuid:{uuid5(learner_id, recipient)}"


def shown(scope: Scope, lines: Iterable[Line], awards: Iterable[Held]) -> Document:
    """The credits and awards within the scope, and of each only what the scope lets be seen."""
    credits_: list[Document] = []
    for line in lines:
        if scope.covers_credit(line.credit_id):
            entry = dict(line.entry)
            if scope.with_marks:
                entry["mark"] = line.mark
            if scope.with_attempts:
                entry["attempt"] = line.attempt
            credits_.append(entry)
    held = [
        dict(award.entry) | ({"classification": award.classification} if scope.with_marks else {})
        for award in awards
        if scope.covers_award(award.award_id)
    ]
    return {"credits": credits_, "awards": held}


def results_shown(scope: Scope, entry: Mapping[str, Any]) -> Document:  # Any: JSON
    """A credit of a transcript without the mark or the attempt that the scope keeps from being seen."""
    return {
        **entry,
        "mark": entry["mark"] if scope.with_marks else None,
        "attempt": entry["attempt"] if scope.with_attempts else None,
    }


def packed(document: Document) -> bytes:
    """JSON with sorted members and no spaces, in UTF-8 (RFC 8785 for these): what is hashed and signed."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sha256_of(document: Document) -> str:
    """Of the packed record, in hex."""
    return hashlib.sha256(packed(document)).hexdigest()
