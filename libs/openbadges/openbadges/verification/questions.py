"""Ask the questions about one credential, in the order in which they make sense, and sum up the answers."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from openbadges.errors import BadgeError
from openbadges.members import Members, listed, members
from openbadges.verification import public_keys
from openbadges.verification.issuers import issuer_of, key_of
from openbadges.verification.outside import Web
from openbadges.verification.parser import Parser
from openbadges.verification.parsing import ParsedCredential, Signed, ask
from openbadges.verification.period import check_period, has_ended, instant
from openbadges.verification.report import (
    NAMED_BY_KEY,
    UNREADABLE,
    Broken,
    Check,
    CheckOutcome,
    Kind,
    Question,
    Report,
    Status,
    status_of,
)
from openbadges.verification.status_checks import ask_lists

R = TypeVar("R", bound=Report)

_LATER = (Question.ISSUER, Question.PROOF, Question.PERIOD, Question.REVOCATION_LIST, Question.REVOCATION)
_PROVEN = {Question.SCHEMA, Question.TERMS, Question.ISSUER, Question.PROOF}
_REFRESH = "1EdTechCredentialRefresh"


@dataclass(frozen=True)
class Asking:
    """What one verification works with: the parser, the sources it asks, and the instant its answers are for."""

    parser: Parser
    web: Web
    now: datetime

    async def verified(self, parsed: ParsedCredential) -> Report:
        """Return the answers, with that to the question for a newer version, which is asked of whole documents
        alone."""
        report = await self.report(parsed)
        return await self.refreshed(report) if report.proven else report

    async def report(self, parsed: ParsedCredential) -> Report:
        """Return the answers to all questions but that for a newer version."""
        now = self.now
        document, checks = parsed.document, list(parsed.checks)
        if not parsed.readable:
            checks += [_skipped(name) for name in _LATER]
            return Report(Status.UNCONFIRMED, tuple(checks), now, parsed.kind, document)
        checks += await self._ask_issuer(parsed)
        checks.append(ask(Question.PERIOD, lambda: _within_period(parsed, now)))
        if _is_proven(checks):  # else whoever forged it would have us fetch addresses of their choice
            checks += await ask_lists(document, issuer_of(document), self.web, self.parser, now)
        else:
            checks += [_skipped(Question.REVOCATION_LIST), _skipped(Question.REVOCATION)]
        parts: list[Report] = []
        if parsed.parts or parsed.kind is Kind.TRANSCRIPT:
            parts = [await self.report(part) for part in parsed.parts]
            checks.append(ask(Question.PARTS, lambda: _all_stand(document, parts)))
        status = status_of(checks)
        return Report(status, tuple(checks), now, parsed.kind, document, tuple(parts))

    async def _ask_issuer(self, parsed: ParsedCredential) -> list[Check]:
        signed = parsed.signed
        if signed is None:
            assert parsed.unsigned is not None, "what is not signed says why"
            return [_skipped(Question.ISSUER), parsed.unsigned]
        try:
            issuer = issuer_of(parsed.document)
            key = await key_of(issuer, signed, self.web, self.parser.limits, self.now)
        except Broken as broken:
            return [Check(Question.ISSUER, CheckOutcome.FAILED, broken.detail, broken.code), _skipped(Question.PROOF)]
        except UNREADABLE:
            detail = "What was found at the issuer's address cannot be read."
            return [Check(Question.ISSUER, CheckOutcome.FAILED, detail, "issuer_unknown"), _skipped(Question.PROOF)]
        words = (
            "The issuer is named by its key alone, which anybody can make; nothing more is known of it."
            if issuer.startswith(NAMED_BY_KEY)
            else f"{issuer} names the signing key as its own."
        )
        vouched = Check(Question.ISSUER, CheckOutcome.PASSED, words)
        return [vouched, ask(Question.PROOF, lambda: _holds(signed, key, self.now))]

    async def refreshed(self, report: Report) -> Report:
        """Ask once whether the issuer has issued a newer version; without an answer the report is about what was
        given."""
        url = _refresh_address(report.document)
        if url is None:
            return report
        try:
            found = await self.web.get(url, self.parser.limits.document_bytes)
            newest = await self.report(await self.parser.parse(found))
            newer = newest.proven and _is_newer(newest.document, report.document)
        except (Broken, BadgeError, *UNREADABLE):
            asked = Check(
                Question.VERSION, CheckOutcome.NOT_CHECKED, "The issuer could not be asked for a newer version."
            )
            return _with(report, asked, report.status)
        if not newer:
            return _with(
                report, Check(Question.VERSION, CheckOutcome.PASSED, "It is the newest version."), report.status
            )
        asked = Check(Question.VERSION, CheckOutcome.FAILED, "The issuer has given out a newer version.", "replaced")
        return _with(report, asked, Status.REPLACED if newest.verified else newest.status, newest)


def _holds(signed: Signed, key: public_keys.PublicKey, now: datetime) -> str:
    if not public_keys.verifies(key, signed.algorithm, signed.data, signed.signature):
        raise Broken("signature_mismatch", "It is not what the issuer signed.")
    if signed.expires is not None and has_ended({"expires": signed.expires}, now):
        raise Broken("signature_expired", "Its signature has expired.")
    return "It is letter by letter what the issuer signed."


def _within_period(parsed: ParsedCredential, now: datetime) -> str:
    check_period(parsed.document, now)
    if parsed.signed is not None:
        check_period(parsed.signed.claims, now)
    return "It is within its period of validity."


def _all_stand(record: Members, parts: list[Report]) -> str:
    fallen = [part for part in parts if not part.verified]
    if fallen:
        raise Broken("part_not_valid", f"Of the {len(parts)} credentials it holds, {len(fallen)} did not stand up.")
    whole = f"Each of the {len(parts)} credentials it holds was checked by itself, and stands."
    foreign = sum(issuer_of(part.document) != issuer_of(record) for part in parts)
    if not foreign:
        return whole
    others = f"{whole} Others issued {foreign} of them:"
    if not set[str].intersection(*(_names_of_holder(part.document) for part in parts)):
        raise Broken("another_holder", f"{others} that all are one holder's is not shown.")
    raise Broken("holder_not_shown", f"{others} all are made out to one holder; who that is, only its maker says.")


def _names_of_holder(document: Members) -> set[str]:
    """Return the ids and identity hashes of the holder; an issuer vouches for those in its own credentials."""
    subjects = list(map(members, listed(document.get("credentialSubject"))))
    identities = [members(entry) for subject in subjects for entry in listed(subject.get("identifier"))]
    words = [entry.get("identityHash") for entry in identities if entry.get("identityType") != "name"]
    return {name for name in (*(subject.get("id") for subject in subjects), *words) if isinstance(name, str) and name}


def reconsidered(report: R, parts: tuple[R, ...], newer: R | None) -> R:
    """Return the report after more became known of the credentials it holds or of its newer version."""
    if (parts, newer) == (report.parts, report.newer):
        return report
    checks = report.checks
    if parts != report.parts:
        words = ask(Question.PARTS, lambda: _all_stand(report.document, list(parts)))
        checks = tuple(words if check.name is Question.PARTS else check for check in checks)
    if newer is not None:
        status = Status.REPLACED if newer.verified else newer.status
    else:
        status = status_of([check for check in checks if check.name is not Question.VERSION])
    return replace(report, status=status, checks=checks, parts=parts, newer=newer)


def _is_proven(checks: Iterable[Check]) -> bool:
    """Return whether it is the issuer's own word, whether or not it still holds."""
    return {check.name for check in checks if check.outcome is CheckOutcome.PASSED} >= _PROVEN


def _refresh_address(document: Members) -> str | None:
    for service in map(members, listed(document.get("refreshService"))):
        if _REFRESH in listed(service.get("type")):
            return service.get("id")
    return None


def _is_newer(newest: Members, known: Members) -> bool:
    same = newest["id"] == known["id"] and issuer_of(newest) == issuer_of(known)
    return same and instant(newest["validFrom"]) > instant(known["validFrom"])


def _with(report: Report, check: Check, status: Status, newer: Report | None = None) -> Report:
    return replace(report, status=status, checks=(*report.checks, check), newer=newer)


def _skipped(name: Question) -> Check:
    return Check(name, CheckOutcome.NOT_CHECKED, "Not asked, since an earlier check failed.")
