"""Files a partner fetches by consent: what was consented to as a learner record, and the whole transcript on paper."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from credentials.adapters.credential_issuer import CredentialIssuer
from credentials.commands import documents, learner_records
from credentials.commands.learner_records import Draft, Transactions
from credentials.domain.documents import DocumentKind, hash_of
from credentials.domain.learner_records import Cover
from credentials.exchange.commands import sharing
from credentials.exchange.domain.sharing import Document, check_paper, pairwise_subject, results_shown, scope_of
from credentials.queries.documents import EditionOnFile, documents_of, signed_badges
from credentials.tables.documents import Edition
from credentials.tables.sharing import Share
from shared.database import Unknown
from shared.database import now as now_of


async def learner_record(
    transactions: Transactions, credential_issuer: CredentialIssuer, client_id: str, share_id: UUID
) -> Document:
    """Return the credit and awards within the consent as a signed learner record; the learner sees that it was fetched.

    It bears the address of the consent and not the number of the transcript, whose page lists every course. Raises
    Unknown, ShareWithdrawn, ShareExpired, NothingSigned, RecordChanging.
    """

    async def draft(session: AsyncSession) -> Draft:
        share = await sharing.consented_share(session, client_id, share_id)
        scope = scope_of(share.scope)
        on_file = await _transcript(session, share)
        content = on_file.edition.content or {}
        only = None if scope.whole_record else frozenset(map(str, scope.credit_ids | scope.award_ids))
        parts = learner_records.parts_of(content, await signed_badges(session, share.learner_id), only)
        status_entry = await learner_records.draw_status_entry(session, on_file, share_id, parts)
        held = {part.id for part in parts}
        return Draft(
            share.learner_id,
            on_file.edition.edition_id,
            share_id,
            status_entry,
            Cover(
                address=f"urn:uuid:{share_id}",
                subject=pairwise_subject(share.learner_id, client_id),
                name=content["name"] if scope.with_name else None,
                as_at=content["as_at"],
                status=credential_issuer.status_entry(status_entry),
            ),
            parts,
            [results_shown(scope, entry) for entry in content["credits"] if entry["credit_id"] in held],
            selected=not scope.whole_record,
        )

    async def note(session: AsyncSession, _: Draft, record: Document) -> None:
        share = await sharing.consented_share(session, client_id, share_id)  # signing took a while
        sharing.note_viewing(session, share, hash_of(record), "partner", now_of(session))

    return await learner_records.sign_record(transactions, credential_issuer, draft, note)


async def consented_transcript(session: AsyncSession, client_id: str, share_id: UUID) -> EditionOnFile:
    """Return the newest edition of the transcript, for a partner that may see all of it.

    Raises Unknown, ShareWithdrawn, ShareExpired, PaperShowsMore.
    """
    share = await sharing.consented_share(session, client_id, share_id)
    check_paper(scope_of(share.scope))
    return await _transcript(session, share)


async def hand_out_paper(session: AsyncSession, client_id: str, share_id: UUID, edition: Edition, file: bytes) -> None:
    """Keep the hash of a paper before it is handed out; the learner sees that it was fetched.

    The consent is checked again, for setting the paper took a while. Raises Unknown, ShareWithdrawn, ShareExpired.
    """
    share = await sharing.consented_share(session, client_id, share_id)
    sha256 = await documents.remember_file(session, edition, file)
    sharing.note_viewing(session, share, sha256, "partner", now_of(session))


async def _transcript(session: AsyncSession, share: Share) -> EditionOnFile:
    for on_file in await documents_of(session, share.learner_id):
        if on_file.document.kind == DocumentKind.TRANSCRIPT and on_file.edition.content is not None:
            return on_file
    raise Unknown("there is no transcript yet")
