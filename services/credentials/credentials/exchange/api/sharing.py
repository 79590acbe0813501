"""Sharing: what a learner shows, to whom, and who viewed it; and the partner's side of a consent."""

import asyncio
from typing import Annotated, Literal, Self
from uuid import UUID

import orjson
from fastapi import Response
from pydantic import Field, StringConstraints, model_validator

from credentials.adapters.credential_issuer import CredentialIssuer
from credentials.adapters.records import sign_record
from credentials.domain.people import HolderAnonymised
from credentials.exchange.api.shared_views import SharedRecordView
from credentials.exchange.commands import sharing, transfers
from credentials.exchange.commands.sharing import Lock
from credentials.exchange.domain.sharing import (
    AlreadyWithdrawn,
    ExpiryOutOfBounds,
    NoKeyYet,
    NoSuchCode,
    NothingShared,
    Scope,
    ShareExpired,
    ShareSecrets,
    ShareState,
    ShareWithdrawn,
    UnknownCredit,
    UnknownRecipient,
    packed,
    sha256_of,
)
from credentials.exchange.queries.sharing import recipients, shares_for, shares_of, viewings_of
from credentials.tables.partners import Partner
from credentials.tables.sharing import Share, Viewing
from shared.access import Caller, NotPermitted
from shared.database import fetch
from shared.database import now as now_of
from shared.paging import paginate
from shared.secret_box import SigningKeyUnreadable
from shared.web import (
    LARGEST,
    CallerOf,
    DatabaseOf,
    Idempotent,
    Instant,
    Page,
    Paging,
    ReadSession,
    RequestModel,
    Router,
    Session,
    View,
    error_responses,
    page_of,
    resource,
    view_of,
)
from shared.web.content import Text

router = Router(tags=["sharing"])

Issuing = Annotated[CredentialIssuer, resource(CredentialIssuer)]
Secrets = Annotated[ShareSecrets, resource(ShareSecrets)]
Label = Annotated[Text, StringConstraints(min_length=1, max_length=200)]
Pin = Annotated[str, StringConstraints(pattern=r"^[0-9]{4,12}$")]


class ShareRequest(RequestModel):
    """What a learner shares, with whom, and until when. For a partner, name its `client_id`; for a link, say who it is
    for."""

    client_id: str | None = Field(default=None, max_length=100, examples=[None])
    recipient: Label | None = Field(default=None, description="For you to recognise the link", examples=["Acme Ltd"])
    purpose: Label = Field(description="Shown to whoever opens it", examples=["Application for a data post"])
    credit_ids: frozenset[UUID] = Field(
        default=frozenset(), max_length=200, examples=[["0193e7a4-5b5c-7c3a-9d59-0c4f5a1b2c3d"]]
    )
    award_ids: frozenset[UUID] = Field(default=frozenset(), max_length=50, examples=[[]])
    whole_record: bool = Field(default=False, description="All credit and awards, those to come as well")
    with_marks: bool = False
    with_attempts: bool = False
    with_name: bool = Field(
        default=False,
        description="Without it nothing leads to your badges, which bear a hash of your confirmed e-mail address: "
        "what is shown is our word alone",
    )
    days: int = Field(ge=1, le=LARGEST, description="How long it lasts", examples=[30])
    pin: Pin | None = Field(
        default=None, description="Links only: asked for before anything is shown", examples=["4821"]
    )
    most_views: int | None = Field(default=None, ge=1, le=10_000, description="Links only", examples=[10])

    @model_validator(mode="after")
    def _for_one_kind(self) -> Self:
        if (self.client_id is None) == (self.recipient is None):
            raise ValueError("name either client_id (a partner) or recipient (a link)")
        if self.client_id is not None and (self.pin is not None or self.most_views is not None):
            raise ValueError("pin and most_views are for links")
        return self

    def scope(self) -> Scope:
        return Scope(
            credit_ids=self.credit_ids,
            award_ids=self.award_ids,
            whole_record=self.whole_record,
            with_marks=self.with_marks,
            with_attempts=self.with_attempts,
            with_name=self.with_name,
        )


class ScopeView(View):
    """What a consent covers: single credits and awards or the whole record, with or without marks, attempts and
    name."""

    credit_ids: list[UUID]
    award_ids: list[UUID]
    whole_record: bool
    with_marks: bool
    with_attempts: bool
    with_name: bool


class ShareView(View):
    """A learner's consent that a partner, or whoever has a link, sees part of their record; `most_views` is null
    where views are not limited, `withdrawn_at` unless the learner ended it."""

    share_id: UUID = Field(examples=["0193e7a4-5b5c-7c3a-9d59-0c4f5a1b2c3d"])
    kind: Literal["link", "partner"]
    recipient: str = Field(examples=["Acme Ltd"])
    purpose: str = Field(examples=["Application for a data post"])
    scope: ScopeView
    state: ShareState
    has_pin: bool
    views: int = Field(examples=[3])
    most_views: int | None
    granted_at: Instant
    expires_at: Instant
    redeemed_at: Instant | None = Field(description="When the partner first used the code")
    withdrawn_at: Instant | None


class GrantedShare(ShareView):
    """A new consent, with its link or code. That secret is shown this once; only its hash is kept."""

    address: str | None = Field(description="Of the link", examples=["https://example.org/shared/x7…"])
    code: str | None = Field(description="For the partner, to hand over by any way", examples=["7QKD-93MX-T4HA-N0VB"])


class ViewingView(View):
    """One time at which a shared record was looked at."""

    viewed_at: Instant
    viewer: Literal["link", "partner"] = Field(description="Whoever had the link, or the partner")
    sha256: str = Field(description="Of what was shown")


class RecipientView(View):
    """A partner with whom a record can be shared."""

    client_id: str = Field(examples=["mcp_0193e7a45b5c7c3a9d590c4f5a1b2c3d"])
    name: str = Field(examples=["Example University"])


class ShareCode(RequestModel):
    """The code a learner was given for a partner, which exchanges it for the consent. Hyphens and case do not
    matter."""

    code: str = Field(min_length=16, max_length=40, examples=["7QKD-93MX-T4HA-N0VB"])


class ConsentView(View):
    """A learner's consent, as the partner it was given to sees it."""

    share_id: UUID = Field(examples=["0193e7a4-5b5c-7c3a-9d59-0c4f5a1b2c3d"])
    purpose: str = Field(examples=["Admission to MSc Data Science"])
    state: ShareState
    granted_at: Instant
    expires_at: Instant
    withdrawn_at: Instant | None


@router.get("/v1/recipients", operation_id="list_recipients")
async def list_recipients(session: ReadSession, caller: CallerOf, paging: Paging) -> Page[RecipientView]:
    """Partners one may let read one's record."""
    caller.must_own(caller.own_id)
    rows, cursor = await paginate(session, recipients(), paging, by=[Partner.client_id])
    return page_of(rows, RecipientView.model_validate, cursor)


@router.post(
    "/v1/shares",
    operation_id="grant_share",
    status_code=201,
    responses=error_responses(HolderAnonymised, UnknownRecipient, NothingShared, UnknownCredit, ExpiryOutOfBounds),
)
async def grant_share(
    body: ShareRequest, session: Session, caller: CallerOf, credential_issuer: Issuing, secrets: Secrets
) -> GrantedShare:
    """Make a link, or let a partner read. The reply holds a secret, so it is not kept for a repeat: it takes no
    Idempotency-Key, and a share made twice by mistake is withdrawn."""
    if body.client_id is not None:
        share, code = await sharing.grant_consent(
            session,
            caller.own_id,
            body.client_id,
            body.scope(),
            purpose=body.purpose,
            days=body.days,
            secrets=secrets,
        )
        return GrantedShare(**_share(session, share).model_dump(), address=None, code=code)
    share, token = await sharing.grant_link(
        session,
        caller.own_id,
        body.scope(),
        recipient=body.recipient or "",
        purpose=body.purpose,
        days=body.days,
        lock=Lock(body.pin, body.most_views),
        secrets=secrets,
    )
    return GrantedShare(
        **_share(session, share).model_dump(), address=f"{credential_issuer.url}/shared/{token}", code=None
    )


@router.get("/v1/shares", operation_id="list_shares")
async def list_shares(session: ReadSession, caller: CallerOf, paging: Paging) -> Page[ShareView]:
    """Everything one has shared, newest first."""
    statement = shares_of(caller.own_id)
    rows, cursor = await paginate(session, statement, paging, by=[Share.share_id], descending=True)
    return page_of(rows, lambda row: _share(session, row), cursor)


@router.get("/v1/shares/{share_id}", operation_id="read_share")
async def read_share(share_id: UUID, session: ReadSession, caller: CallerOf) -> ShareView:
    """Read one share: what it shows, to whom and until when."""
    return view_of(await _own(session, caller, share_id), lambda share: _share(session, share))


@router.get("/v1/shares/{share_id}/views", operation_id="list_share_views")
async def list_share_views(share_id: UUID, session: ReadSession, caller: CallerOf, paging: Paging) -> Page[ViewingView]:
    """Every time a share was looked at, newest first."""
    await _own(session, caller, share_id)
    rows, cursor = await paginate(session, viewings_of(share_id), paging, by=[Viewing.viewing_id], descending=True)
    return page_of(rows, ViewingView.model_validate, cursor)


@router.post(
    "/v1/shares/{share_id}/withdrawal",
    operation_id="withdraw_share",
    status_code=200,
    dependencies=[Idempotent],
    responses=error_responses(AlreadyWithdrawn),
)
async def withdraw_share(share_id: UUID, session: Session, caller: CallerOf) -> ShareView:
    """End a share at once; a partner is notified."""
    share = await sharing.withdraw_share(session, caller.own_id, share_id)
    await transfers.end_with_share(session, share)
    return _share(session, share)


# The partner's side


@router.post(
    "/v1/shared-records",
    operation_id="redeem_share_code",
    status_code=200,
    responses=error_responses(NoSuchCode, ShareWithdrawn, ShareExpired),
)
async def redeem_share_code(handed: ShareCode, session: Session, caller: CallerOf, secrets: Secrets) -> ConsentView:
    """Turn the code a learner gave you into the consent it stands for; a repeat gives the same."""
    share = await sharing.redeem_code(session, partner_of(caller), handed.code, secrets)
    return _consent(session, share)


@router.get("/v1/shared-records", operation_id="list_shared_records")
async def list_shared_records(session: ReadSession, caller: CallerOf, paging: Paging) -> Page[ConsentView]:
    """The consents given to you, those that have ended as well."""
    statement = shares_for(partner_of(caller))
    rows, cursor = await paginate(session, statement, paging, by=[Share.share_id], descending=True)
    return page_of(rows, lambda row: _consent(session, row), cursor)


@router.post(
    "/v1/shared-records/{share_id}/fetches",
    operation_id="fetch_shared_record",
    status_code=200,
    response_model=SharedRecordView,
    responses=error_responses(ShareWithdrawn, ShareExpired, NoKeyYet, SigningKeyUnreadable),
)
async def fetch_shared_record(
    share_id: UUID, database: DatabaseOf, caller: CallerOf, credential_issuer: Issuing
) -> Response:
    """The record as it stands now, signed. A POST, for each fetch is written down and shown to the learner; it takes
    no Idempotency-Key: what was once fetched must not be had again from a kept reply after a withdrawal."""
    client_id = partner_of(caller)
    async with database.transaction() as session:
        document, scope = await sharing.fetch_record(session, client_id, share_id, credential_issuer.issuer)
        signer = await sharing.record_signer(session, credential_issuer)
    payload = packed(document)
    jws = await asyncio.to_thread(sign_record, payload, signer)  # a signer may ask elsewhere
    async with database.transaction() as session:
        await sharing.log_signature(session, share_id, jws, signer)
    at = f"/v1/shared-records/{share_id}"
    pdf_url = f"{at}.pdf" if scope.is_everything else None
    members = {
        "record": document,
        "sha256": sha256_of(document),
        "jws": jws,
        "clr_url": f"{at}.clr",
        "pdf_url": pdf_url,
    }
    return Response(orjson.dumps(members), media_type="application/json")  # a model might write it in other letters


def partner_of(caller: Caller) -> str:
    """Return the partner who calls. Raises NotPermitted for people."""
    if caller.client_id is None:
        raise NotPermitted("this operation is for partners")
    return caller.client_id


async def _own(session: Session, caller: Caller, share_id: UUID) -> Share:
    share = await fetch(session, Share, share_id)
    caller.must_own(share.learner_id)
    return share


def _share(session: Session, share: Share) -> ShareView:
    return ShareView(
        share_id=share.share_id,
        kind="link" if share.client_id is None else "partner",
        recipient=share.recipient,
        purpose=share.purpose,
        scope=ScopeView.model_validate(share.scope),
        state=sharing.state_of(share, now_of(session)),
        has_pin=share.pin_hash is not None,
        views=share.views,
        most_views=share.most_views,
        granted_at=share.granted_at,
        expires_at=share.expires_at,
        redeemed_at=share.redeemed_at,
        withdrawn_at=share.withdrawn_at,
    )


def _consent(session: Session, share: Share) -> ConsentView:
    return ConsentView(
        share_id=share.share_id,
        purpose=share.purpose,
        state=sharing.state_of(share, now_of(session)),
        granted_at=share.granted_at,
        expires_at=share.expires_at,
        withdrawn_at=share.withdrawn_at,
    )
