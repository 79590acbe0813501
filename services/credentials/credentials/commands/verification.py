"""Verify a credential: what is ours is answered from our own records, everything else from outside."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.adapters.credential_issuer import CredentialIssuer
from credentials.domain.awards import State
from credentials.domain.look_alikes import reads_as
from credentials.domain.recorded_reports import (
    KEY_NOT_NAMED,
    RecordedReport,
    not_recorded,
    of_no_key_of_ours,
    revoked,
    signed_with_lost_key,
    stands,
)
from credentials.queries.issued import badge_of_reinstated_credit, is_taken_back, reviews_of_badges
from credentials.queries.keys import document_with_lost_keys, is_signed_with_lost_key, issuer_document
from credentials.tables.awards import Award
from credentials.tables.issued import Badge, StatusList
from openbadges.members import id_of, listed, members
from openbadges.verification.outside import Unreachable, Web, origin
from openbadges.verification.questions import reconsidered
from openbadges.verification.report import Check, CheckOutcome, Question, Status
from openbadges.verification.verifier import Verifier
from shared.database import Unknown, fetch
from shared.errors import NotFound

Reads = Callable[[], AbstractAsyncContextManager[AsyncSession]]

_STATUS_LIST = re.compile(r"/status/revocation/([1-9][0-9]{0,5})(\.jwt)?")
_MOST_DIGITS = 9
_DID_PATH = "/.well-known/did.json"
_REFRESH = re.compile(r"/credentials/([0-9a-f-]{36})/refresh(\.jwt)?")


@dataclass(frozen=True)
class Verdict:
    report: RecordedReport
    ours: bool
    superseded: bool
    """It is genuine and stands, but its holder has since been given a higher award on the same credit."""
    achievement_id: UUID | None = None
    """The achievement, where the credential is in our records."""
    newest: UUID | None = None
    """The badge to rely on, where ours was replaced. A corrected badge has the same id."""

    @property
    def status(self) -> str:
        return "superseded" if self.superseded else self.report.status.value


@dataclass(frozen=True)
class OwnPages:
    """A `Web` in which our own addresses are answered from the database, and all others by `beyond`.

    Each answer has a session of its own, so that none is held while another host is waited for.
    """

    reads: Reads
    credential_issuer: CredentialIssuer
    beyond: Web
    by_lost_keys: bool = False
    """Whether keys that were struck out count: only where the credential, too, is read from our own records."""

    async def get(self, url: str, most_bytes: int, *, own_word: bool = False) -> bytes:
        """Return the bytes at an address; one of our origin is never fetched over the network. Raises Unreachable."""
        try:
            if origin(url) != origin(self.credential_issuer.url):
                return await self.beyond.get(url, most_bytes, own_word=own_word)
            async with self.reads() as session:
                path = url.removeprefix(self.credential_issuer.url)
                if self.by_lost_keys and path == _DID_PATH:
                    return orjson.dumps(await document_with_lost_keys(session, self.credential_issuer.issuer.did))
                return await _own_page(session, self.credential_issuer, path)
        except (NotFound, ValueError) as error:
            raise Unreachable("unreachable", "There is no such page here.") from error


async def verify_given(
    raw: bytes, reads: Reads, credential_issuer: CredentialIssuer, verifier: Verifier, now: datetime, *, client: str
) -> Verdict:
    """Verify what somebody uploaded; nothing is stored. Raises what `Verifier.verify` raises."""
    found = await verifier.verify(raw, OwnPages(reads, credential_issuer, verifier.outside), now, client=client)
    report = RecordedReport.of(found)
    superseded = False
    async with reads() as session:
        report = await _with_reviews(session, credential_issuer, await _as_recorded(session, credential_issuer, report))
        ours = report.ours
        if ours and report.verified:
            superseded = await _is_superseded(session, _badge_of(report, credential_issuer))
    if ours:
        report = await _given_back(report, reads, credential_issuer, verifier, now)
    return Verdict(report, ours, superseded, newest=_newest(report, credential_issuer) if ours else None)


async def verify_badge(
    badge_id: UUID, reads: Reads, credential_issuer: CredentialIssuer, verifier: Verifier, now: datetime
) -> Verdict:
    """Verify a badge of ours, as it stands in our records. Raises Unknown."""
    async with reads() as session:
        badge = await fetch(session, Badge, badge_id)
        credential = orjson.dumps(_signed(badge))
        superseded = await _award_is_superseded(session, badge)
    pages = OwnPages(reads, credential_issuer, verifier.outside, by_lost_keys=True)
    report = RecordedReport.of(await verifier.verify_own(credential, pages, now))
    async with reads() as session:
        report = await _with_reviews(
            session, credential_issuer, await _as_recorded(session, credential_issuer, report, ours=True)
        )
        if await is_signed_with_lost_key(session, badge_id):
            report = signed_with_lost_key(report)
    report = _versioned(report, Check(Question.VERSION, CheckOutcome.PASSED, "It is the newest version."))
    report = await _given_back(report, reads, credential_issuer, verifier, now)
    return Verdict(
        report,
        ours=True,
        superseded=superseded and report.verified,
        achievement_id=badge.achievement_id,
        newest=_newest(report, credential_issuer),
    )


async def _given_back(
    report: RecordedReport, reads: Reads, credential_issuer: CredentialIssuer, verifier: Verifier, now: datetime
) -> RecordedReport:
    """Return the report as replaced, where a badge of ours was revoked and its credit given back with another badge."""
    badge_id = _badge_of(report, credential_issuer)
    if report.status is not Status.REVOKED or badge_id is None:
        return report
    async with reads() as session:
        badge = await badge_of_reinstated_credit(session, badge_id)
    if badge is None:
        return report
    pages = OwnPages(reads, credential_issuer, verifier.outside, by_lost_keys=True)
    found = await verifier.verify_own(orjson.dumps(badge.document), pages, now)
    async with reads() as session:
        newer = await _as_recorded(session, credential_issuer, RecordedReport.of(found), ours=True)
    if not newer.verified:
        return report
    words = f"The credit was given back, with a new badge: {credential_issuer.verification_url(badge.badge_id)}"
    verdict = Check(Question.VERSION, CheckOutcome.FAILED, words, "replaced")
    return replace(_versioned(report, verdict), status=Status.REPLACED, newer=newer)


def _versioned(report: RecordedReport, verdict: Check) -> RecordedReport:
    checks = (*(check for check in report.checks if check.name is not Question.VERSION), verdict)
    return replace(report, checks=checks)


def _newest(report: RecordedReport, credential_issuer: CredentialIssuer) -> UUID | None:
    if report.newer is None or report.status is not Status.REPLACED:
        return None
    return _badge_of(report.newer, credential_issuer)


def _badge_of(report: RecordedReport, credential_issuer: CredentialIssuer) -> UUID | None:
    """Return the id that a badge of ours has in its address; None for anything else."""
    address = str(report.document.get("id"))
    try:
        badge_id = UUID(address.rpartition("/")[2])
    except ValueError:
        return None
    return badge_id if credential_issuer.credential_url(badge_id) == address else None


async def _with_reviews(
    session: AsyncSession, credential_issuer: CredentialIssuer, report: RecordedReport
) -> RecordedReport:
    """Return the report with the instants since when awards of ours in it are under review, at any depth."""
    awards = {
        found: each
        for each in _all_of(report)
        if each.ours and (found := _badge_of(each, credential_issuer)) is not None
    }
    since = await reviews_of_badges(session, awards)
    return _reviewed(report, credential_issuer, since) if since else report


def _all_of(report: RecordedReport) -> Iterator[RecordedReport]:
    yield report
    for one in (*report.parts, *([] if report.newer is None else [report.newer])):
        yield from _all_of(one)


def _reviewed(
    report: RecordedReport, credential_issuer: CredentialIssuer, since: Mapping[UUID, datetime]
) -> RecordedReport:
    badge_id = _badge_of(report, credential_issuer) if report.ours else None
    return replace(
        report,
        under_review_since=None if badge_id is None else since.get(badge_id),
        parts=tuple(_reviewed(part, credential_issuer, since) for part in report.parts),
        newer=None if report.newer is None else _reviewed(report.newer, credential_issuer, since),
    )


async def _as_recorded(
    session: AsyncSession, credential_issuer: CredentialIssuer, report: RecordedReport, *, ours: bool = False
) -> RecordedReport:
    """Return the report as our records, from which the lists are made, have it before the next list is signed: what is
    revoked, and what stands though its list cannot be read now. Also of what it holds."""
    parts = tuple([await _as_recorded(session, credential_issuer, part) for part in report.parts])
    newer = None if report.newer is None else await _as_recorded(session, credential_issuer, report.newer)
    report = _unless_the_same(_recognised(reconsidered(report, parts, newer), credential_issuer, ours=ours))
    ours = report.ours
    if not ours or report.newer is not None or report.says(Question.REVOCATION, CheckOutcome.FAILED):
        return _ended(report)
    entries, stand = [*map(members, listed(report.document.get("credentialStatus")))], list[Mapping[str, Any]]()
    for entry in entries:
        found = _STATUS_LIST.fullmatch(
            str(id_of(entry.get("statusListCredential"))).removeprefix(credential_issuer.url)
        )
        index = str(entry.get("statusListIndex"))
        if found is None or not index.isdecimal() or len(index) > _MOST_DIGITS:
            continue
        taken_back = await is_taken_back(session, int(found[1]), int(index), _badge_of(report, credential_issuer))
        if taken_back is not False:
            return _ended(revoked(report)) if taken_back else not_recorded(report)
        stand.append(entry)
    return stands(report) if stand and stand == entries and _is_of_lost_key(report) else report


def _is_of_lost_key(report: RecordedReport) -> bool:
    """Return whether it is our word, and its list is signed with a key that we no longer name."""
    lists = [check.code for check in report.checks if check.name is Question.REVOCATION_LIST]
    return report.proven and lists == [KEY_NOT_NAMED]


def _unless_the_same(report: RecordedReport) -> RecordedReport:
    """Return the report without a replacement, where a credential of ours was only signed anew, as after a restore.

    The holder's address is not compared: its hash has a fresh salt in each version, and with another address a badge
    gets another status entry.
    """
    newer = report.newer
    if not report.ours or newer is None or not newer.verified or _said(newer.document) != _said(report.document):
        return report
    words = "It was signed anew since, and says the same."
    verdict = Check(Question.VERSION, CheckOutcome.PASSED, words)
    return _versioned(reconsidered(report, report.parts, None), verdict)


def _said(document: Mapping[str, Any]) -> dict[str, Any]:  # Any: JSON
    said = {name: member for name, member in document.items() if name not in {"validFrom", "proof"}}
    said["credentialSubject"] = {**members(said.get("credentialSubject")), "identifier": None}
    return said


def _ended(report: RecordedReport) -> RecordedReport:
    """Return the report of an ended record of ours in words that do not say whether it was replaced or withdrawn.

    Most often it was replaced; which of the two it was is nobody's business.
    """
    if not (report.ours and report.is_record):
        return report
    words = "The issuer has ended it: there is a newer record, or something that it states was withdrawn."
    return replace(
        report,
        checks=tuple(
            replace(check, detail=words) if check.name is Question.REVOCATION and check.code == "revoked" else check
            for check in report.checks
        ),
    )


def _recognised(report: RecordedReport, credential_issuer: CredentialIssuer, *, ours: bool) -> RecordedReport:
    """Return the report with whether the issuer is us, or only looks like us.

    A host's name may contain ours and be its own; a key can bear any name.
    """
    issuer = report.document.get("issuer")
    is_our_address = id_of(issuer) == credential_issuer.issuer.did
    is_key = str(id_of(issuer)).startswith(("did:key:", "did:jwk:"))
    names = (members(one).get("@value", one) for one in listed(members(issuer).get("name")))
    if is_our_address and not report.proven:
        report = of_no_key_of_ours(report)
    return replace(
        report,
        ours=ours or (report.proven and is_our_address),
        bears_our_name=not is_our_address
        and any(
            isinstance(name, str) and reads_as(name, credential_issuer.issuer.name, within=is_key) for name in names
        ),
    )


def _signed(badge: Badge) -> dict[str, Any]:  # Any: JSON
    if badge.document is None:
        raise Unknown("this badge is not signed yet")
    return badge.document


async def own_did_document(session: AsyncSession, credential_issuer: CredentialIssuer) -> bytes:
    """Return the issuer's DID document as it is published."""
    return orjson.dumps(await issuer_document(session, credential_issuer.issuer.did))


async def _own_page(session: AsyncSession, credential_issuer: CredentialIssuer, path: str) -> bytes:
    if path == _DID_PATH:
        return await own_did_document(session, credential_issuer)
    if found := _STATUS_LIST.fullmatch(path):
        row = await fetch(session, StatusList, int(found[1]))
        if found[2] and row.token is not None:
            return row.token.encode()
        if not found[2] and row.document is not None:
            return row.document
    if found := _REFRESH.fullmatch(path):
        badge = await fetch(session, Badge, UUID(found[1]))
        if not found[2]:
            return orjson.dumps(_signed(badge))
        if badge.token is not None:
            return badge.token.encode()
    raise Unreachable("unreachable", "There is no such page here.")


async def _is_superseded(session: AsyncSession, badge_id: UUID | None) -> bool:
    badge = None if badge_id is None else await session.get(Badge, badge_id)
    return badge is not None and await _award_is_superseded(session, badge)


async def _award_is_superseded(session: AsyncSession, badge: Badge) -> bool:
    if badge.award_id is None:
        return False
    return (await fetch(session, Award, badge.award_id)).state == State.SUPERSEDED
