"""Who may do what: one declared table per service (operation -> Rule), enforced before a request is read.

Every service verifies the token itself; no header but `Authorization` says who is calling. An operation
without a row cannot be served. Ownership is proven in the handler (`caller.must_own`): a handler of an owned
operation that returns without having proven it fails loudly, and nothing it did is kept.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import jwt

from shared.clock import Clock, system_clock
from shared.database import Unknown
from shared.errors import Forbidden, Unauthenticated, Unavailable
from shared.issuer_keys import FetchKeys, IssuerKeys


class InvalidToken(Unauthenticated):
    """The access token is missing, expired, not ours, or not for us."""


class IssuerUnreachable(Unavailable):
    """The token issuer's keys cannot be fetched, so nobody can be recognised at the moment."""


class NotPermitted(Forbidden):
    """The caller's roles or scopes do not include this operation."""


class OwnershipNotProven(RuntimeError):
    """Our fault: a handler of an owned operation ended without `caller.must_own` or `caller.own_id`."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may call one operation."""

    public: bool = False
    any_origin: bool = False
    """Pages of every web origin may call it: it is public and nobody's alone."""
    owners: frozenset[str] = frozenset()
    """Roles that may call it for what is their own."""
    staff: frozenset[str] = frozenset()
    """Roles that may call it whoever owns the object."""
    scopes: frozenset[str] = frozenset()
    """Partner scopes of which one is enough; what a partner may see of whom is the service's rule (consent)."""


def anyone(*, any_origin: bool = False) -> Rule:
    """Callers without a token; `any_origin` where every web page may read the answer, too."""
    return Rule(public=True, any_origin=any_origin)


def owner(*roles: str, staff: tuple[str, ...] = (), scopes: tuple[str, ...] = ()) -> Rule:
    """People with one of these roles for their own objects; `staff` roles and partner `scopes` besides."""
    return Rule(owners=frozenset(roles), staff=frozenset(staff), scopes=frozenset(scopes))


def staff(*roles: str, scopes: tuple[str, ...] = ()) -> Rule:
    return Rule(staff=frozenset(roles), scopes=frozenset(scopes))


Access = Mapping[str, Rule]
"""operationId -> Rule."""


@dataclass(slots=True)
class Caller:
    """Who is asking, as far as this operation's rule admitted them."""

    rule: Rule
    id: UUID | None = None
    """The account, which is the learner's id; None for partners and for strangers on public operations."""
    client_id: str | None = None
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    proven: bool = field(default=False, init=False)

    @property
    def name(self) -> str:
        """For records of who did something and for the scope of idempotency keys."""
        return str(self.id or self.client_id or "anonymous")

    @property
    def is_staff(self) -> bool:
        return bool(self.roles & self.rule.staff)

    @property
    def own_id(self) -> UUID:
        """The id whose objects this operation touches, where it is about the caller's own."""
        if self.id is None:
            raise NotPermitted("this operation is for people")
        self.proven = True
        return self.id

    def must_own(self, owner_id: UUID) -> None:
        """Raises Unknown, as if there were no such object, unless it is the caller's or they are staff here."""
        self.proven = True
        if not (self.is_staff or (self.id == owner_id and self.roles & self.rule.owners)):
            raise Unknown("no such object")

    def must_have_proven(self, operation: str) -> None:
        """Raises OwnershipNotProven."""
        if self.rule.owners and not self.proven:
            raise OwnershipNotProven(operation)

    def admits_partner(self) -> bool:
        """Whether a partner calls with a sufficient scope; consent is then for the service to check."""
        if self.client_id is not None and self.scopes & self.rule.scopes:
            self.proven = True
            return True
        return False


LEEWAY_SECONDS: Final = 30
LONGEST_LIFE_SECONDS: Final = 600
LONGEST_TOKEN: Final = 8192
CACHED_TOKENS: Final = 10_000
KEYS_MAX_AGE_SECONDS: Final = 300.0


class TokenVerifier:
    """Checks access tokens: EdDSA only, `typ: at+jwt`, exact issuer and audience, expiry.

    Verified tokens are kept, keyed by the whole token, and their expiry is looked at on every hit. What is known of the
    issuer's keys, and when they are fetched, is for :class:`IssuerKeys`.
    """

    def __init__(self, issuer: str, audience: str, fetch_keys: FetchKeys, clock: Clock = system_clock) -> None:
        self.issuer, self.audience, self.fetch_keys, self.clock = issuer, audience, fetch_keys, clock
        self._verified: OrderedDict[str, dict[str, Any]] = OrderedDict()  # Any: JWT claims
        self.forget()

    def forget(self) -> None:
        """All keys, and what they have verified."""
        self._keys = IssuerKeys(IssuerUnreachable, max_age_seconds=KEYS_MAX_AGE_SECONDS)
        self._verified_by = self._keys.known
        self._verified.clear()

    async def verify(self, token: str) -> dict[str, Any]:  # Any: JWT claims
        """The token's claims; raises InvalidToken, or IssuerUnreachable where it cannot be told."""
        claims = self._verified.get(token)
        if claims is not None and self._verified_by is self._keys.known and self._keys.is_fresh():
            if claims["exp"] + LEEWAY_SECONDS <= self.clock().timestamp():
                raise InvalidToken("the access token has expired")
            return claims
        claims = await self._check(token)
        if self._verified_by is not self._keys.known:  # other keys, or fewer
            self._verified_by = self._keys.known
            self._verified.clear()
        self._verified[token] = claims
        if len(self._verified) > CACHED_TOKENS:
            self._verified.popitem(last=False)
        return claims

    async def _check(self, token: str) -> dict[str, Any]:
        if len(token) > LONGEST_TOKEN:
            raise InvalidToken("the access token is too long")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError as error:
            raise InvalidToken("the access token cannot be read") from error
        if header.get("alg") != "EdDSA" or header.get("typ") != "at+jwt" or "crit" in header:
            raise InvalidToken("not an access token of this platform")
        kid = str(header.get("kid", ""))
        key = await self._keys.find(kid, self.fetch_keys)
        if key is None:
            raise InvalidToken("the access token is signed by an unknown key")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=["EdDSA"],
                audience=self.audience,
                issuer=self.issuer,
                options={
                    "require": ["exp", "iat", "iss", "aud", "sub"],
                    "strict_aud": True,
                    "verify_exp": False,  # times are judged by our clock, below
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except jwt.InvalidTokenError as error:
            raise InvalidToken(f"the access token is not valid: {error}") from error
        times = [claims[name] for name in ("exp", "iat", "nbf") if name in claims]
        if not all(isinstance(time, int) or (isinstance(time, float) and math.isfinite(time)) for time in times):
            raise InvalidToken("the access token's times are no numbers")
        now = self.clock().timestamp()
        if claims["exp"] + LEEWAY_SECONDS <= now:
            raise InvalidToken("the access token has expired")
        if max(claims["iat"], claims.get("nbf", 0)) > now + LEEWAY_SECONDS:
            raise InvalidToken("the access token is not valid yet")
        if claims["exp"] - claims["iat"] > LONGEST_LIFE_SECONDS:
            raise InvalidToken("the access token is valid for too long")
        return {**claims, "kid": kid}

    async def admit(self, rule: Rule, authorization: str | None) -> Caller:
        """The caller, if the rule lets them in; raises InvalidToken (401) or NotPermitted (403)."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            if rule.public:
                return Caller(rule)
            raise InvalidToken("sign in and send the access token", headers={"WWW-Authenticate": "Bearer"})
        claims = await self.verify(token.strip())
        caller = _caller(rule, claims)
        if not rule.public and not (caller.roles & (rule.owners | rule.staff) or caller.scopes & rule.scopes):
            raise NotPermitted("your roles or scopes do not include this operation")
        return caller


def _caller(rule: Rule, claims: Mapping[str, Any]) -> Caller:
    if "client_id" in claims:
        return Caller(rule, client_id=str(claims["client_id"]), scopes=frozenset(str(claims.get("scope", "")).split()))
    try:
        account = UUID(str(claims["sub"]))
    except ValueError as error:
        raise InvalidToken("the access token names no account") from error
    return Caller(rule, id=account, roles=frozenset(map(str, claims.get("roles", ()))))
