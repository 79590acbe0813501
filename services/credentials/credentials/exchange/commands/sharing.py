"""Share a record, view what was shared, withdraw it."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from credentials.adapters.credential_issuer import CredentialIssuer
from credentials.commands import emails, keys
from credentials.commands.people import must_be_present
from credentials.domain import policies
from credentials.domain.badges import Issuer
from credentials.domain.documents import new_nonce
from credentials.exchange.commands.partners import open_partner
from credentials.exchange.domain import sharing
from credentials.exchange.domain.sharing import Document, Scope, ShareSecrets, ShareState
from credentials.exchange.queries.sharing import READING, share_by_secret, shareable
from credentials.queries.keys import active_key
from credentials.tables.people import Person
from credentials.tables.sharing import Share, Viewing
from openbadges.keys import Signer
from openbadges.signable import instant
from shared.clock import later
from shared.database import Unknown, advisory_lock, fetch
from shared.database import now as now_of
from shared.events.credentials import ShareGranted, ShareRevoked, ShareViewed
from shared.ids import new_id
from shared.messaging import publish


@dataclass(frozen=True)
class Lock:
    """What protects a link besides its token."""

    pin: str | None = None
    most_views: int | None = None


async def grant_link(
    session: AsyncSession,
    learner_id: UUID,
    scope: Scope,
    *,
    recipient: str,
    purpose: str,
    days: int,
    lock: Lock,
    secrets: ShareSecrets,
) -> tuple[Share, str]:
    """Make a link for whoever is given it. Returns its token, too, which is shown only this once.

    Raises HolderAnonymised, NothingShared, UnknownCredit, ExpiryOutOfBounds.
    """
    share, token = await _new_share(session, learner_id, scope, purpose=purpose, days=days), sharing.new_token()
    share.recipient, share.secret_sha256, share.most_views = recipient, secrets.digest(token), lock.most_views
    if lock.pin is not None:
        share.pin_hash = await asyncio.to_thread(secrets.pin_hash, lock.pin, share.share_id)
    await _grant(session, share)
    return share, token


async def grant_consent(
    session: AsyncSession,
    learner_id: UUID,
    client_id: str,
    scope: Scope,
    *,
    purpose: str,
    days: int,
    secrets: ShareSecrets,
) -> tuple[Share, str]:
    """Give consent to a partner. Returns the code, too, by which it learns of the consent; it is shown only this once.

    Raises UnknownRecipient, HolderAnonymised, NothingShared, UnknownCredit, ExpiryOutOfBounds.
    """
    await must_be_present(session, learner_id)
    partner = await open_partner(session, client_id, READING)
    if partner is None:
        raise sharing.UnknownRecipient("no partner that may read records has this client id")
    share, code = await _new_share(session, learner_id, scope, purpose=purpose, days=days), sharing.new_code()
    share.client_id, share.recipient, share.secret_sha256 = client_id, partner.name, secrets.digest(code)
    await _grant(session, share)
    return share, code


async def redeem_code(session: AsyncSession, client_id: str, code: str, secrets: ShareSecrets) -> Share:
    """Return the consent a code stands for; the same one each time.

    Raises NoSuchCode for anybody but the partner it is for, ShareWithdrawn, ShareExpired.
    """
    share = await share_by_secret(session, secrets.digests(sharing.normal_code(code)), lock=True)
    now = now_of(session)
    if share is None or share.client_id != client_id:
        raise sharing.NoSuchCode("no consent for you has this code")
    sharing.check_consent(state_of(share, now))
    if share.redeemed_at is None:
        if later(share.granted_at, policies.in_force(now).sharing.code_life) <= now:
            raise sharing.NoSuchCode("the code is too old; ask the learner for a new one")
        share.redeemed_at = now
    return share


async def fetch_record(session: AsyncSession, client_id: str, share_id: UUID, issuer: Issuer) -> tuple[Document, Scope]:
    """Return what the partner may see, as it stands now, and the scope of the consent; the learner sees that it was
    viewed.

    Raises Unknown, ShareWithdrawn, ShareExpired.
    """
    share = await consented_share(session, client_id, share_id)
    now = now_of(session)
    document = await _document(session, share, issuer, now)
    note_viewing(session, share, sharing.sha256_of(document), "partner", now)
    return document, sharing.scope_of(share.scope)


async def consented_share(session: AsyncSession, client_id: str, share_id: UUID) -> Share:
    """Return the partner's share while the consent lasts, locked, so that it is not withdrawn until the transaction
    ends.

    Takes the learner's advisory lock before the share's row, as withdrawing does. Raises Unknown, ShareWithdrawn,
    ShareExpired.
    """
    share = await session.get(Share, share_id)
    if share is None or share.client_id != client_id:
        raise Unknown(f"no share {share_id}")
    await advisory_lock(session, "learner", share.learner_id)
    await session.refresh(share, with_for_update={"key_share": True})
    if share.redeemed_at is None:
        raise Unknown(f"no share {share_id}")
    sharing.check_consent(state_of(share, now_of(session)))
    return share


async def record_signer(session: AsyncSession, credential_issuer: CredentialIssuer) -> Signer:
    """Return the signer of shared records, with the key that also signs badges.

    Raises NoKeyYet, SigningKeyUnreadable.
    """
    key = await active_key(session, credential_issuer.issuer.did)
    if key is None:
        raise sharing.NoKeyYet("the issuer has no signing key yet; ask again shortly")
    return keys.signer_now(credential_issuer, key)


async def log_signature(session: AsyncSession, share_id: UUID, jws: str, signer: Signer) -> None:
    """Log the signature of a shared record, before that is handed out."""
    made = keys.Signed.token(f"urn:uuid:{share_id}", jws, signer)
    await keys.log_signatures(session, [made], now_of(session))


async def find_link(session: AsyncSession, token: str, secrets: ShareSecrets) -> tuple[Share, ShareState]:
    """Return the share behind a link, and its state. Raises Unknown."""
    share = await share_by_secret(session, secrets.digests(token))
    if share is None or share.client_id is not None:
        raise Unknown("no such link")
    return share, state_of(share, now_of(session))


async def open_link(
    session: AsyncSession, token: str, pin: str | None, secrets: ShareSecrets, issuer: Issuer
) -> Document | sharing.WrongPin:
    """Return what a link shows; the learner sees that it was opened.

    A wrong PIN is returned and not raised, so that the attempt is stored. Raises Unknown, LinkEnded, PinNeeded.
    """
    share = await share_by_secret(session, secrets.digests(token), lock=True)
    if share is None or share.client_id is not None:
        raise Unknown("no such link")
    now = now_of(session)
    if state_of(share, now) is not ShareState.LIVE:
        raise sharing.LinkEnded("this link has ended; ask whoever sent it for a new one")
    if share.pin_hash is not None:
        if pin is None:
            raise sharing.PinNeeded("this link opens with the PIN its sender gave")
        if not await asyncio.to_thread(secrets.pin_fits, pin, share.pin_hash, share.share_id):
            share.wrong_pins += 1
            left = policies.in_force(now).sharing.wrong_pins - share.wrong_pins
            if left <= 0:
                share.locked_at = now
                await emails.email_locked(session, share)
            return sharing.WrongPin("this is not the PIN of this link", tries_left=max(left, 0))
        share.wrong_pins = 0
    document = await _document(session, share, issuer, now)
    note_viewing(session, share, sharing.sha256_of(document), "link", now)
    return document


async def withdraw_share(session: AsyncSession, learner_id: UUID, share_id: UUID) -> Share:
    """Withdraw a share, at once and for good. Raises Unknown, AlreadyWithdrawn."""
    await advisory_lock(session, "learner", learner_id)
    share = await fetch(session, Share, share_id, lock=True)
    if share.learner_id != learner_id:
        raise Unknown(f"no share {share_id}")
    if share.withdrawn_at is not None:
        raise sharing.AlreadyWithdrawn("this share is withdrawn already")
    end_share(session, share, now_of(session))
    return share


def end_share(session: AsyncSession, share: Share, now: datetime) -> None:
    """Withdraw a share and announce it."""
    share.withdrawn_at = now
    publish(
        session,
        ShareRevoked(share_id=share.share_id, learner_id=share.learner_id, client_id=share.client_id, revoked_at=now),
    )


def state_of(share: Share, now: datetime) -> ShareState:
    return sharing.state_of(
        now=now,
        expires_at=share.expires_at,
        withdrawn_at=share.withdrawn_at,
        locked_at=share.locked_at,
        views_left=None if share.most_views is None else share.most_views - share.views,
    )


async def _new_share(session: AsyncSession, learner_id: UUID, scope: Scope, *, purpose: str, days: int) -> Share:
    await must_be_present(session, learner_id)
    now = now_of(session)
    lines, awards, _ = await shareable(session, learner_id, now)
    sharing.check_scope(scope, [line.credit_id for line in lines], [award.award_id for award in awards])
    return Share(
        share_id=new_id(),
        learner_id=learner_id,
        purpose=purpose,
        scope=scope.as_json(),
        granted_at=now,
        expires_at=sharing.expiry(now, days, policies.in_force(now).sharing),
    )


async def _grant(session: AsyncSession, share: Share) -> None:
    session.add(share)
    await session.flush()
    announce_grant(session, share)


def announce_grant(session: AsyncSession, share: Share) -> None:
    """Announce that a share was granted."""
    publish(
        session,
        ShareGranted(
            share_id=share.share_id,
            learner_id=share.learner_id,
            client_id=share.client_id,
            credit_ids=tuple(map(UUID, share.scope["credit_ids"])),
            award_ids=tuple(map(UUID, share.scope["award_ids"])),
            whole_record=share.scope["whole_record"],
            granted_at=share.granted_at,
            expires_at=share.expires_at,
        ),
    )


async def _document(session: AsyncSession, share: Share, issuer: Issuer, now: datetime) -> Document:
    scope = sharing.scope_of(share.scope)
    lines, awards, _ = await shareable(session, share.learner_id, now)
    person = await session.get(Person, share.learner_id) if scope.with_name else None
    document: Document = {
        "share_id": str(share.share_id),
        "as_at": instant(now),
        "nonce": new_nonce(),
        "expires_at": instant(share.expires_at),
        "purpose": share.purpose,
        "recipient": share.recipient,
        "issuer": {"id": issuer.did, "name": issuer.name},
        "holder": {"id": sharing.pairwise_subject(share.learner_id, share.client_id or str(share.share_id))},
        **sharing.shown(scope, lines, awards),
    }
    if person is not None:
        document["holder"]["name"] = person.legal_name
    for entry in (*document["credits"], *document["awards"]):
        badge_id = entry.pop("badge_id")
        entry["credential_url"] = badge_id and f"{issuer.url}/credentials/{badge_id}"
        entry["verification_url"] = badge_id and f"{issuer.url}/verify/{badge_id}"
    return document


def note_viewing(session: AsyncSession, share: Share, sha256: str, viewer: str, now: datetime) -> None:
    """Record for the learner that a share was viewed; `sha256` is of what was shown."""
    share.views += 1
    viewing = Viewing(
        viewing_id=new_id(),
        share_id=share.share_id,
        viewed_at=now,
        viewer=viewer,
        sha256=sha256,
    )
    session.add(viewing)
    publish(
        session,
        ShareViewed(
            viewing_id=viewing.viewing_id,
            share_id=share.share_id,
            learner_id=share.learner_id,
            client_id=share.client_id,
            viewed_at=now,
        ),
    )
