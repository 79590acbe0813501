"""Operations on partners: operators register them, and they get tokens by client credentials."""

import base64
import binascii
from typing import Annotated
from urllib.parse import parse_qs, unquote_plus

from fastapi import Request, Response
from pydantic import Field

from gateway import queries
from gateway.api.auth_settings import AuthSettings
from gateway.api.operators import OperatorNow
from gateway.commands import partners as commands
from gateway.domain import partners as rules
from gateway.tables import Partner, PartnerSecret
from shared.errors import Malformed
from shared.secret_box import SigningKeyUnreadable
from shared.texts import is_storable
from shared.web import (
    Instant,
    Page,
    ReadSession,
    RequestModel,
    Router,
    Session,
    View,
    error_responses,
    page_of,
    resource,
)
from shared.web.content import Text

router = Router(tags=["partners"])


class InvalidTokenRequest(Malformed):
    """RFC 6749 §5.2 `invalid_request`: a parameter is missing or there twice."""


class PartnerRequest(RequestModel):
    """A partner to be registered, and what its client may do."""

    name: Text = Field(min_length=1, max_length=200, examples=["Example University"])
    scopes: list[Text] = Field(examples=[["transcripts:read", "transfers:decide"]])


class SecretView(View):
    """A client secret, of which only the beginning is shown."""

    prefix: str = Field(description="Shows which secret it is", examples=["mcs_Q7xk"])
    created_at: Instant


class PartnerView(View):
    """A partner, its scopes and its secrets."""

    client_id: str = Field(examples=["mcp_0193e7a45b5c7c3a9d590c4f5a1b2c3d"])
    name: str
    scopes: list[str]
    registered_at: Instant
    closed_at: Instant | None
    secrets: list[SecretView]


class IssuedSecretView(View):
    """A new client secret, shown this once."""

    client_id: str
    client_secret: str = Field(description="Shown this once; only its hash is kept")


class PartnerTokenView(View):
    """An access token for a partner's own client, as RFC 6749 §5.1 defines the answer."""

    access_token: str
    token_type: str = Field(default="Bearer", examples=["Bearer"])
    expires_in: int = Field(examples=[300])
    scope: str = Field(examples=["transcripts:read"])


def _view(partner: Partner, secrets: list[PartnerSecret]) -> PartnerView:
    own = [one for one in secrets if one.client_id == partner.client_id]
    return PartnerView(
        client_id=partner.client_id,
        name=partner.name,
        scopes=partner.scopes,
        registered_at=partner.registered_at,
        closed_at=partner.closed_at,
        secrets=[SecretView.model_validate(one) for one in own],
    )


_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "title": "PartnerTokenRequest",
                    "description": "A request for an access token by a partner's own client (RFC 6749 §4.4).",
                    "required": ["grant_type"],
                    "properties": {
                        "grant_type": {"type": "string", "const": "client_credentials"},
                        "scope": {"type": "string", "description": "Space-separated; all of yours if absent"},
                        "client_id": {"type": "string", "description": "Or by HTTP Basic"},
                        "client_secret": {"type": "string", "format": "password"},
                    },
                },
                "example": {"grant_type": "client_credentials", "scope": "transcripts:read"},
            }
        },
    }
}


@router.post(
    "/oauth/token",
    operation_id="issue_partner_token",
    openapi_extra=_FORM,
    responses=error_responses(
        InvalidTokenRequest,
        rules.UnsupportedGrantType,
        rules.InvalidClient,
        rules.UnknownScope,
        SigningKeyUnreadable,
    ),
)
async def issue_partner_token(
    request: Request, response: Response, session: Session, auth: Annotated[AuthSettings, resource(AuthSettings)]
) -> PartnerTokenView:
    """An access token by client credentials (RFC 6749 §4.4)."""
    form = _form(await request.body(), request.headers.get("content-type", ""))
    grant = form.get("grant_type")
    if grant is None:
        raise InvalidTokenRequest("grant_type is missing", error="invalid_request")
    if grant != "client_credentials":
        raise rules.UnsupportedGrantType("only client_credentials is offered here", error="unsupported_grant_type")
    client_id, secret = _client(form, request.headers.get("authorization"))
    if not all(map(is_storable, (client_id, secret, form.get("scope", "")))):
        raise InvalidTokenRequest("NUL is no part of a parameter", error="invalid_request")
    token = await commands.issue_partner_token(session, client_id, secret, form.get("scope"), auth.token_issuer)
    response.headers["Cache-Control"] = "no-store"
    return PartnerTokenView(access_token=token.access_token, expires_in=token.expires_in, scope=" ".join(token.scopes))


@router.post(
    "/v1/partners",
    operation_id="register_partner",
    status_code=201,
    dependencies=[OperatorNow],
    responses=error_responses(rules.UnknownScope),
)
async def register_partner(body: PartnerRequest, response: Response, session: Session) -> IssuedSecretView:
    """Register a partner (operators). The reply holds a secret, so it is not kept for a repeat: it takes no
    Idempotency-Key, and a partner registered twice by mistake is closed."""
    partner, secret = await commands.register_partner(session, body.name, body.scopes)
    response.headers["Cache-Control"] = "no-store"
    return IssuedSecretView(client_id=partner.client_id, client_secret=secret)


@router.get("/v1/partners", operation_id="list_partners")
async def list_partners(session: ReadSession) -> Page[PartnerView]:
    """All partners, with what distinguishes their live secrets (operators)."""
    found = await queries.partners(session)
    secrets = await queries.live_secrets(session, [partner.client_id for partner in found])
    return page_of(found, lambda partner: _view(partner, secrets))


@router.delete("/v1/partners/{client_id}", operation_id="close_partner", status_code=204, dependencies=[OperatorNow])
async def close_partner(client_id: str, session: Session) -> None:
    """No more tokens for this partner (operators); those given end within minutes."""
    await commands.close_partner(session, client_id)


@router.post(
    "/v1/partners/{client_id}/secrets",
    operation_id="add_partner_secret",
    status_code=201,
    dependencies=[OperatorNow],
    responses=error_responses(rules.TooManyClientSecrets),
)
async def add_partner_secret(client_id: str, response: Response, session: Session) -> IssuedSecretView:
    """A second secret, to change over without a gap (operators)."""
    secret = await commands.add_secret(session, client_id)
    response.headers["Cache-Control"] = "no-store"
    return IssuedSecretView(client_id=client_id, client_secret=secret)


@router.delete(
    "/v1/partners/{client_id}/secrets/{prefix}",
    operation_id="withdraw_partner_secret",
    status_code=204,
    dependencies=[OperatorNow],
    responses=error_responses(rules.SecretAlreadyWithdrawn),
)
async def withdraw_partner_secret(client_id: str, prefix: str, session: Session) -> None:
    """Withdraw a secret by its first characters (operators)."""
    await commands.withdraw_secret(session, client_id, prefix)


def _form(body: bytes, content_type: str) -> dict[str, str]:
    if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise InvalidTokenRequest("send application/x-www-form-urlencoded", error="invalid_request")
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=20)
    except ValueError as error:
        raise InvalidTokenRequest("this is no form", error="invalid_request") from error
    if twice := [name for name, values in fields.items() if len(values) > 1]:
        raise InvalidTokenRequest(f"given twice: {', '.join(twice)}", error="invalid_request")
    return {name: values[0] for name, values in fields.items()}


def _client(form: dict[str, str], authorization: str | None) -> tuple[str, str]:
    """Return the client's id and secret, from HTTP Basic or the form but not both (RFC 6749 §2.3)."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() == "basic":
        if "client_secret" in form:
            raise InvalidTokenRequest("authenticate in one way only", error="invalid_request")
        try:
            client_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise InvalidTokenRequest("this is no HTTP Basic", error="invalid_request") from error
        return unquote_plus(client_id), unquote_plus(secret)
    return form.get("client_id", ""), form.get("client_secret", "")
