"""How a learner's name and address change once documents or e-mails depend on them: by a registrar's decision, and by a
code sent to the address."""

import json
import secrets
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cache
from importlib.resources import files

from shared.errors import Conflict, Forbidden, TooMany
from shared.file_checks import FileKind, file_kind


class NameRequestOpen(Conflict):
    """One request for another name at a time."""

    remedy = "Withdraw the open request, or wait until it is decided."


class NameRequestNotDraft(Conflict):
    """A request for another name that was handed in does not change."""

    remedy = "Withdraw the request and make a new one."


class NameRequestNotSubmitted(Conflict):
    """Only a request for another name that waits for its decision is decided."""

    remedy = "Read the request anew: it was decided, withdrawn, or not handed in yet."


class NameRequestClosed(Conflict):
    """A request for another name is withdrawn before it is decided."""

    remedy = "Make a new request."


class NameEvidenceMissing(Conflict):
    """A registrar decides about a name on evidence: a deed, a passport, a marriage certificate."""

    remedy = "Add the evidence, then hand the request in."


class TooMuchNameEvidence(Conflict):
    """A request for another name has a limited number of files."""

    remedy = "Withdraw the request and make one with fewer files."


class OwnNameRequest(Forbidden):
    """Nobody decides about their own name."""

    remedy = "Leave it to another registrar."


class NoAddressToConfirm(Conflict):
    """No contact address waits for its code: it is confirmed, or the code's time or tries have run out."""

    remedy = "Have a code sent to the address that waits: `POST /v1/learners/me/contact-email/codes`."


class WrongConfirmationCode(Forbidden):
    """Not the code that was sent to the contact address."""

    remedy = "Copy the code whole from the newest e-mail to that address, or have a new one sent."


class TooManyConfirmations(TooMany):
    """So many codes were sent today; go on tomorrow."""


class NameRequestState(StrEnum):
    """Where a request to change a name stands.

    - `draft`: evidence may be added.
    - `submitted`: a registrar decides.
    - `approved`: the learner bears the new name.
    - `refused`: the name stays.
    - `withdrawn`: the learner took it back, or was anonymised.
    """

    DRAFT = "draft"
    SUBMITTED = "submitted"
    APPROVED = "approved"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


OPEN = frozenset({NameRequestState.DRAFT, NameRequestState.SUBMITTED})


@dataclass(frozen=True)
class Policy:
    """How long a code holds, how many may be sent and tried, and what evidence for a name may be."""

    confirmation_holds: timedelta
    emails_a_day: int
    tries_a_code: int
    most_files: int
    longest_file_bytes: int
    file_kinds: tuple[FileKind, ...]


@cache
def policy() -> Policy:
    document = json.loads((files("enrolment") / "particulars.json").read_text("utf-8"))
    confirmation, evidence = document["confirmation"], document["name_evidence"]
    return Policy(
        confirmation_holds=timedelta(hours=confirmation["hours"]),
        emails_a_day=confirmation["emails_a_day"],
        tries_a_code=confirmation["tries_a_code"],
        most_files=evidence["files_at_most"],
        longest_file_bytes=evidence["file_bytes_at_most"],
        file_kinds=tuple(map(file_kind, evidence["file_kinds"])),
    )


_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # no letters that are read as digits
_LENGTH = 10


def new_code() -> str:
    """Return fifty random bits as a code that people can type."""
    code = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
    return f"{code[: _LENGTH // 2]}-{code[_LENGTH // 2 :]}"


def as_typed(code: str) -> bytes:
    """Return a code as the same bytes however it was typed."""
    return "".join(filter(str.isalnum, code)).upper().translate(str.maketrans("OIL", "011")).encode()


def decided_in_words(name: str, reason: str, *, approved: bool) -> str:
    """Return the body of the e-mail about a decided request for another name."""
    what = (
        "It was approved: it is yours from now on. Your transcript and certificates are made anew in this name, each "
        "under its number, in a version of its own. Earlier copies are confirmed as genuine, and as replaced."
        if approved
        else "It was refused: your name, and your documents, stay as they are. You may appeal against this decision."
    )
    return f"You asked to bear the name {name}.\n\n{what}\n\nReason of the decision: {reason}\n"
