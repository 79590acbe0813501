"""Checking a credential: what is ours is answered from our own records, everything else from outside."""

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from credentials import queries, tables
from credentials.adapters.members import id_of, listed, members
from credentials.adapters.notary import Notary
from credentials.adapters.verification import (
    Check,
    CheckOutcome,
    Question,
    Report,
    Status,
    Unreachable,
    Verifier,
    Web,
    reconsidered,
    revoked,
)
from credentials.adapters.verification.outside import origin
from credentials.domain.awards import State
from shared.database import Unknown, fetch
from shared.errors import NotFound

Reads = Callable[[], AbstractAsyncContextManager[AsyncSession]]

_STATUS_LIST = re.compile(r"/status/revocation/([1-9][0-9]{0,5})(\.jwt)?")
_MOST_DIGITS = 9
_REFRESH = re.compile(r"/credentials/([0-9a-f-]{36})/refresh(\.jwt)?")


@dataclass(frozen=True)
class Verdict:
    report: Report
    ours: bool
    superseded: bool
    """It is genuine and stands, and its holder has since been given a higher award on the same credit."""
    achievement_id: UUID | None = None
    """What it recognises, of one in our records."""
    newest: UUID | None = None
    """Of one of ours that was replaced: the badge to rely on. Of a corrected one it has the same id."""

    @property
    def status(self) -> str:
        return "superseded" if self.superseded else self.report.status.value


@dataclass(frozen=True)
class OwnPages:
    """A web in which our own addresses are answered from the database, and all others by `beyond`.

    Each answer has a session of its own: none is held while somebody else is waited for.
    """

    reads: Reads
    notary: Notary
    beyond: Web

    async def get(self, url: str, most_bytes: int, *, own_word: bool = False) -> bytes:
        """Raises Unreachable. Whatever is of our origin is never asked for over the network."""
        try:
            if origin(url) != origin(self.notary.url):
                return await self.beyond.get(url, most_bytes, own_word=own_word)
            async with self.reads() as session:
                return await _own_page(session, self.notary, url.removeprefix(self.notary.url))
        except (NotFound, ValueError) as error:
            raise Unreachable("unreachable", "There is no such page here.") from error


async def verify_given(
    raw: bytes, reads: Reads, notary: Notary, verifier: Verifier, now: datetime, *, client: str
) -> Verdict:
    """Check what somebody handed in; nothing is kept. Raises what `Verifier.verify` raises."""
    report = await verifier.verify(raw, OwnPages(reads, notary, verifier.outside), now, client=client)
    ours = report.proven and id_of(report.document.get("issuer")) == notary.issuer.did
    superseded = False
    async with reads() as session:
        report = await _as_recorded(session, notary, report)
        if ours and report.verified:
            superseded = await _is_superseded(session, _badge_of(report, notary))
    if ours:
        report = await _given_back(report, reads, notary, verifier, now)
    return Verdict(report, ours, superseded, newest=_newest(report, notary) if ours else None)


async def verify_badge(badge_id: UUID, reads: Reads, notary: Notary, verifier: Verifier, now: datetime) -> Verdict:
    """Check one of our own, as it stands in our records. Raises Unknown."""
    async with reads() as session:
        badge = await fetch(session, tables.Badge, badge_id)
        credential = orjson.dumps(_signed(badge))
        superseded = await _award_is_superseded(session, badge)
    report = await verifier.verify_own(credential, OwnPages(reads, notary, verifier.outside), now)
    async with reads() as session:
        report = await _as_recorded(session, notary, report, ours=True)
    report = _versioned(report, Check(Question.VERSION, CheckOutcome.PASSED, "It is the newest version."))
    report = await _given_back(report, reads, notary, verifier, now)
    return Verdict(
        report,
        ours=True,
        superseded=superseded and report.verified,
        achievement_id=badge.achievement_id,
        newest=_newest(report, notary),
    )


async def _given_back(report: Report, reads: Reads, notary: Notary, verifier: Verifier, now: datetime) -> Report:
    """Of a badge of ours that was revoked, and whose credit stands again with another badge: replaced by that one."""
    badge_id = _badge_of(report, notary)
    if report.status is not Status.REVOKED or badge_id is None:
        return report
    async with reads() as session:
        badge = await queries.badge_of_credit_given_back(session, badge_id)
    if badge is None:
        return report
    newer = await verifier.verify_own(orjson.dumps(badge.document), OwnPages(reads, notary, verifier.outside), now)
    async with reads() as session:
        newer = await _as_recorded(session, notary, newer, ours=True)
    if not newer.verified:
        return report
    words = f"The credit was given back, with a new badge: {notary.verification_url(badge.badge_id)}"
    told = Check(Question.VERSION, CheckOutcome.FAILED, words, "replaced")
    return replace(_versioned(report, told), status=Status.REPLACED, newer=newer)


def _versioned(report: Report, told: Check) -> Report:
    checks = (*(check for check in report.checks if check.name is not Question.VERSION), told)
    return replace(report, checks=checks)


def _newest(report: Report, notary: Notary) -> UUID | None:
    if report.newer is None or report.status is not Status.REPLACED:
        return None
    return _badge_of(report.newer, notary)


def _badge_of(report: Report, notary: Notary) -> UUID | None:
    """The id that a badge of ours has in its address; None for what has no such address."""
    address = str(report.document.get("id"))
    try:
        badge_id = UUID(address.rpartition("/")[2])
    except ValueError:
        return None
    return badge_id if notary.credential_url(badge_id) == address else None


async def _as_recorded(session: AsyncSession, notary: Notary, report: Report, *, ours: bool = False) -> Report:
    """The records know of a revocation before the next list is signed, be it of what a credential holds."""
    parts = tuple([await _as_recorded(session, notary, part) for part in report.parts])
    newer = None if report.newer is None else await _as_recorded(session, notary, report.newer)
    report = reconsidered(report, parts, newer)
    ours = ours or (report.proven and id_of(report.document.get("issuer")) == notary.issuer.did)
    if not ours or newer is not None or report.says(Question.REVOCATION, CheckOutcome.FAILED):
        return report
    for entry in map(members, listed(report.document.get("credentialStatus"))):
        found = _STATUS_LIST.fullmatch(str(id_of(entry.get("statusListCredential"))).removeprefix(notary.url))
        index = str(entry.get("statusListIndex"))
        if found is None or not index.isdecimal() or len(index) > _MOST_DIGITS:
            continue
        if await queries.is_taken_back(session, int(found[1]), int(index)):
            return revoked(report)
    return report


def _signed(badge: tables.Badge) -> dict[str, Any]:  # Any: JSON
    if badge.document is None:
        raise Unknown("this badge is not signed yet")
    return badge.document


async def own_did_document(session: AsyncSession, notary: Notary) -> bytes:
    """The issuer's keys, as they are published."""
    return orjson.dumps(await queries.issuer_document(session, notary.issuer.did))


async def _own_page(session: AsyncSession, notary: Notary, path: str) -> bytes:
    if path == "/.well-known/did.json":
        return await own_did_document(session, notary)
    if found := _STATUS_LIST.fullmatch(path):
        row = await fetch(session, tables.StatusList, int(found[1]))
        if found[2] and row.token is not None:
            return row.token.encode()
        if not found[2] and row.document is not None:
            return row.document
    if found := _REFRESH.fullmatch(path):
        badge = await fetch(session, tables.Badge, UUID(found[1]))
        if not found[2]:
            return orjson.dumps(_signed(badge))
        if badge.token is not None:
            return badge.token.encode()
    raise Unreachable("unreachable", "There is no such page here.")


async def _is_superseded(session: AsyncSession, badge_id: UUID | None) -> bool:
    badge = None if badge_id is None else await session.get(tables.Badge, badge_id)
    return badge is not None and await _award_is_superseded(session, badge)


async def _award_is_superseded(session: AsyncSession, badge: tables.Badge) -> bool:
    if badge.award_id is None:
        return False
    return (await fetch(session, tables.Award, badge.award_id)).state == State.SUPERSEDED
