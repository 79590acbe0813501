"""Operations to sign in and out, and the public keys by which anybody verifies our tokens."""

from typing import Annotated

import orjson
from fastapi import Request, Response
from pydantic import Field

from gateway import queries
from gateway.adapters.hashing import SignInBusy
from gateway.adapters.oidc import EmailNotVerified, InvalidIdToken, IssuerAway
from gateway.api.accounts import AccountView, view
from gateway.api.auth_settings import AuthSettings, NoOutsideIssuer, PasswordsNotOffered
from gateway.commands import sessions as commands
from gateway.commands.sessions import Reused, Tokens
from gateway.commands.tokens import key_set
from gateway.domain import accounts as rules
from gateway.domain.sessions import InvalidRefreshToken
from gateway.tables import Account
from shared.database import fetch, now
from shared.process import Process
from shared.secret_box import SigningKeyUnreadable
from shared.web import (
    Instant,
    KeySetResponse,
    ReadSession,
    RequestModel,
    Router,
    Secret,
    Session,
    View,
    conditional,
    error_responses,
    resource,
)
from shared.web.problems import problem

router = Router(tags=["sign-in"])

AuthSettingsOf = Annotated[AuthSettings, resource(AuthSettings)]
OfProcess = Annotated[Process, resource(Process)]


class Credentials(RequestModel):
    """What a person signs in with."""

    email: str = Field(max_length=254, examples=["ada.lovelace@example.org"])
    password: Secret = Field(max_length=rules.PASSWORD_LONGEST, examples=["nine brass engines humming"])


class Refreshing(RequestModel):
    """The refresh token that is exchanged for new tokens."""

    refresh_token: str = Field(max_length=512, examples=["o0qZ1Qb7m3V2lq9c0m9Xr2n5t8w1y4A6D8F0H2K4M6P"])


class OutsideToken(RequestModel):
    """An ID token of the outside issuer, in the place of a password."""

    id_token: str = Field(max_length=8192, description="An OpenID Connect ID token of the trusted issuer")


class TokenKeySet(View):
    """A JSON Web Key Set (RFC 7517) with the public keys of access tokens."""

    keys: list[dict[str, str]] = Field(
        description="JSON Web Keys, chosen by `kid`",
        examples=[
            [
                {
                    "kty": "OKP",
                    "crv": "Ed25519",
                    "x": "Yh7kLl3sZDpNcunVuPMV3TjnDuLNoJRvYZS7hVxv94Q",
                    "kid": "2026-11-5d21aa07",
                    "use": "sig",
                    "alg": "EdDSA",
                }
            ]
        ],
    )


class TokensView(View):
    """What a sign-in gives: an access token for minutes, and a refresh token for the next one."""

    access_token: str = Field(description="Send it as `Authorization: Bearer …`")
    token_type: str = Field(default="Bearer", examples=["Bearer"])
    expires_in: int = Field(description="Seconds the access token lasts", examples=[600])
    refresh_token: str = Field(description="Used once; the answer holds the next one")
    session_expires_at: Instant = Field(description="When signing in again is needed in any case")
    account: AccountView


def _view(tokens: Tokens) -> TokensView:
    return TokensView(
        access_token=tokens.access_token,
        expires_in=tokens.expires_in,
        refresh_token=tokens.refresh_token,
        session_expires_at=tokens.session_expires_at,
        account=view(tokens.account, tokens.roles),
    )


def _not_stored(response: Response) -> None:
    response.headers["Cache-Control"] = "no-store"


@router.post(
    "/v1/sign-ins",
    operation_id="sign_in",
    status_code=201,
    responses=error_responses(
        PasswordsNotOffered,
        rules.EmailMalformed,
        rules.WrongCredentials,
        rules.AccountIsClosed,
        SignInBusy,
        SigningKeyUnreadable,
    ),
)
async def sign_in(
    credentials: Credentials, response: Response, session: Session, auth: AuthSettingsOf, process: OfProcess
) -> TokensView:
    """Sign in with e-mail address and password. Tokens are given out here only, so the reply is never stored."""
    auth.must_offer_passwords()
    _not_stored(response)
    key = rules.email_key(credentials.email)
    async with auth.hashing.slot():
        # No database connection is held while a password is checked: hashing is slow on purpose.
        async with process.database.reads() as reading:
            account = await queries.account_by_email(reading, key)
        known = account.password_hash if account is not None else None
        if not await auth.hashing.matches(known, credentials.password) or account is None or known is None:
            raise rules.WrongCredentials("the e-mail address or the password is wrong")
        better = await auth.hashing.make(credentials.password) if auth.hashing.is_outdated(known) else None
    account = await fetch(session, Account, account.account_id, lock=True)
    if better is not None:
        account.password_hash = better
    return _view(await commands.sign_in(session, account, auth.token_issuer, auth.session_policy))


@router.post(
    "/v1/sign-ins/refresh",
    operation_id="refresh_sign_in",
    response_model=TokensView,
    responses=error_responses(InvalidRefreshToken, rules.AccountIsClosed, SigningKeyUnreadable),
)
async def refresh_sign_in(
    presented: Refreshing, response: Response, session: Session, auth: AuthSettingsOf
) -> TokensView | Response:
    """New tokens for a refresh token. It works once; repeated within seconds, e.g. after a lost reply, it gives the
    same successor; used later than that, it ends the whole session, for somebody else has it too."""
    _not_stored(response)
    outcome = await commands.refresh(session, presented.refresh_token, auth.token_issuer, auth.session_policy)
    if isinstance(outcome, Reused):
        kind = InvalidRefreshToken
        return problem(kind.status, kind.code, kind.title, "this refresh token was used before; the session has ended")
    return _view(outcome)


@router.post(
    "/v1/sign-ins/outside",
    operation_id="sign_in_from_outside",
    status_code=201,
    responses=error_responses(
        NoOutsideIssuer,
        InvalidIdToken,
        EmailNotVerified,
        rules.EmailMalformed,
        rules.EmailTaken,
        rules.AccountIsClosed,
        IssuerAway,
        SigningKeyUnreadable,
    ),
)
async def sign_in_from_outside(
    presented: OutsideToken, response: Response, session: Session, auth: AuthSettingsOf
) -> TokensView:
    """Sign in with an ID token of the institution this platform trusts; the first time opens an account."""
    _not_stored(response)
    identity = await auth.must_trust().identify(presented.id_token)
    return _view(await commands.sign_in_from_outside(session, identity, auth.token_issuer, auth.session_policy))


@router.post("/v1/sign-outs", operation_id="sign_out", status_code=204)
async def sign_out(presented: Refreshing, session: Session) -> None:
    """End the session. The access token still works until it expires, within minutes."""
    await commands.sign_out(session, presented.refresh_token)


@router.get(
    "/.well-known/jwks.json",
    operation_id="read_signing_keys",
    tags=["keys"],
    response_model=TokenKeySet,
    response_class=KeySetResponse,
)
async def read_signing_keys(request: Request, session: ReadSession) -> Response:
    """The public keys (RFC 7517) by which every service verifies access tokens."""
    keys = await key_set(session, now(session))
    return conditional(request, orjson.dumps(keys), max_age_seconds=5, media_type=KeySetResponse.media_type)
