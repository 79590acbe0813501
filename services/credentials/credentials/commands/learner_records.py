"""Sign transcripts as learner records. Signed when somebody asks, and kept until anything inside is another."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from credentials import queries, tables
from credentials.adapters.notary import Notary
from credentials.commands import keys
from credentials.commands.keys import Signed
from credentials.domain import learner_records
from credentials.domain.badges import instant
from credentials.domain.documents import NothingSigned
from credentials.domain.keys import PUBLISHED
from credentials.domain.learner_records import Cover, Part
from shared.database import now as now_of

Document = dict[str, Any]  # Any: JSON
JSON = Mapping[str, Any]  # Any: JSON


async def record_of_edition(
    session: AsyncSession, notary: Notary, document: tables.Document, edition: tables.Edition
) -> Document:
    """The signed record of a transcript's newest edition.

    Signed anew where a badge inside was issued anew since, or the key it was signed with is compromised.
    Raises NothingSigned.
    """
    content = edition.content or {}
    parts = parts_of(content, await queries.signed_badges(session, document.learner_id))
    known = edition.clr
    if known is not None and _holds(known, parts) and await _vouched_for(session, known):
        return known
    cover = Cover(
        address=notary.document_url(document.number),
        subject=f"urn:uuid:{document.document_id}",
        name=content["name"],
        as_at=content["as_at"],
    )
    record = await sign_record(session, notary, cover, parts, credits_=content["credits"])
    await session.execute(
        update(tables.Edition)
        .where(tables.Edition.edition_id == edition.edition_id)
        .values(clr=record, signed_at=now_of(session))
    )
    return record


async def sign_record(
    session: AsyncSession,
    notary: Notary,
    cover: Cover,
    parts: Sequence[Part],
    *,
    credits_: Sequence[JSON],
    selected: bool = False,
) -> Document:
    """A signed record of these parts of a transcript, with the marks and attempts in `credits_`.

    `selected` says that the learner left some parts out.

    Raises NothingSigned.
    """
    key = await queries.active_key(session, notary.issuer.did)
    if key is None or not any(part.badge is not None for part in parts):
        raise NothingSigned("none of the badges is signed yet; try again shortly")
    signer = notary.signer(key.verification_method, key.wrapped_key, key.suite)
    now = now_of(session)

    def sign() -> tuple[Document, list[Signed]]:
        """JSON-LD takes tens of milliseconds a badge of pure computing; the loop serves others meanwhile."""
        made: list[Signed] = []
        results = learner_records.results_document(notary.issuer, cover, valid_from=instant(now), credits_=credits_)
        if results is not None:
            results = notary.sign(results, signer, now)
            made.append(Signed.document(results))
        unsigned = learner_records.record_document(
            notary.issuer,
            cover,
            valid_from=instant(now),
            parts=parts,
            results=results,
            partial=learner_records.is_partial(parts, selected=selected),
        )
        record = notary.sign(unsigned, signer, now)
        return record, [*made, Signed.document(record)]

    record, made = await asyncio.to_thread(sign)
    await keys.log_signatures(session, made, now)
    return record


def parts_of(content: JSON, badges: Collection[tables.Badge], only: Collection[str] | None = None) -> list[Part]:
    """The lines of a transcript with their badges; `only` those credits and awards, where given."""
    by_source = {str(badge.credit_id or badge.award_id): badge.document for badge in badges}
    parts = [Part(entry["credit_id"], by_source.get(entry["credit_id"])) for entry in content["credits"]]
    parts += [
        Part(entry["award_id"], by_source.get(entry["award_id"]), frozenset(entry["credit_ids"]))
        for entry in content["awards"]
    ]
    return [part for part in parts if only is None or part.id in only]


def _holds(record: JSON, parts: Sequence[Part]) -> bool:
    inside = record["credentialSubject"]["verifiableCredential"]
    badges = [part.badge for part in parts if part.badge is not None]
    return inside[: len(badges)] == badges and len(inside) <= len(badges) + 1


async def _vouched_for(session: AsyncSession, record: JSON) -> bool:
    key = await session.get(tables.SigningKey, record["proof"][0]["verificationMethod"])
    return key is not None and key.state in PUBLISHED
