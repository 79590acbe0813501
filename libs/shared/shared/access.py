"""Access: one declared table per service says who may call each operation, enforced before a request is read.

Every service verifies the token itself; no header but `Authorization` says who is calling. An operation without a row
cannot be served. Ownership is proven in the handler (`caller.must_own`): a handler of an owned operation that returns
without having proven it fails loudly, and nothing it did is kept.

Nobody decides about themselves: a row says what staff get about themselves in an operation that changes something.
Where that is an error, `refuse_own` raises it, and an operation that ended without calling it fails as loudly.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, cast
from uuid import UUID

import jwt
from sqlalchemy.ext.asyncio import AsyncSession

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


class OwnMatterNotRefused(RuntimeError):
    """Our fault: an operation that is refused about one's own matter ended without `refuse_own` or
    `refuse_concerned`."""


class Own(Enum):
    """Why an operation raises no error where staff would decide about themselves."""

    NOBODYS = "The operation is about nobody in particular."
    LEFT_OUT = "It is about many, and leaves one's own out."
    SEEN = "It changes nothing, and shows nothing that is kept from whom it is about."


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may call one operation."""

    public: bool = False
    any_origin: bool = False
    """Whether pages of every web origin may call it: it is public, and its answers are the same for everybody."""
    owners: frozenset[str] = frozenset()
    """Roles that may call it for objects of their own."""
    staff: frozenset[str] = frozenset()
    """Roles that may call it whoever owns the object."""
    scopes: frozenset[str] = frozenset()
    """Partner scopes of which one is enough; what a partner may see of whom is the service's rule (consent)."""
    own: Own | type[Forbidden] | tuple[type[Forbidden], ...] | None = None
    """What staff get about themselves; required of every operation that is for staff alone, or by which staff change
    something."""

    @property
    def refusals(self) -> tuple[type[Forbidden], ...]:
        """The errors that staff get about themselves: each of them must have been asked for."""
        if isinstance(self.own, tuple):
            return self.own
        return (self.own,) if isinstance(self.own, type) else ()


def anyone(*, any_origin: bool = False) -> Rule:
    """Admit everybody, without a token; `any_origin` where every web page may read the answer, too."""
    return Rule(public=True, any_origin=any_origin)


def owner(*roles: str, staff: tuple[str, ...] = (), scopes: tuple[str, ...] = ()) -> Rule:
    """Admit people with one of these roles for their own objects; `staff` roles and partner `scopes` besides."""
    return Rule(owners=frozenset(roles), staff=frozenset(staff), scopes=frozenset(scopes))


def staff(
    *roles: str, scopes: tuple[str, ...] = (), own: Own | type[Forbidden] | tuple[type[Forbidden], ...] | None = None
) -> Rule:
    """Admit staff with one of these roles, and partners with one of these scopes; `own` is what staff get about
    themselves."""
    return Rule(staff=frozenset(roles), scopes=frozenset(scopes), own=own)


Access = Mapping[str, Rule]
"""A service's access table: the rule of each operation, by operationId."""


@dataclass(slots=True)
class Caller:
    """Who is asking, as this operation's rule admitted them."""

    rule: Rule
    id: UUID | None = None
    """The account, which is the learner's id; None for partners and for strangers on public operations."""
    client_id: str | None = None
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    proven: bool = field(default=False, init=False)
    apart: set[type[Forbidden]] = field(default_factory=set[type[Forbidden]], init=False)
    """The errors that `refuse_own` and `refuse_concerned` were asked to raise and did not: the matter is not the
    caller's own."""

    @property
    def name(self) -> str:
        """The caller's id as text, for records of who did something and for the scope of idempotency keys."""
        return str(self.id or self.client_id or "anonymous")

    @property
    def is_staff(self) -> bool:
        """Whether the rule admits the caller as staff, by a role that may see everybody's objects."""
        return bool(self.roles & self.rule.staff)

    @property
    def own_id(self) -> UUID:
        """The caller's account id, for an operation about their own objects: reading it proves ownership.

        Raises NotPermitted: the caller is no person.
        """
        if self.id is None:
            raise NotPermitted("this operation is for people")
        self.proven = True
        return self.id

    def must_own(self, owner_id: UUID) -> None:
        """Prove ownership; raise Unknown, as if there were no such object, unless it is the caller's or they are staff
        here."""
        self.proven = True
        if not (self.is_staff or (self.id == owner_id and self.roles & self.rule.owners)):
            raise Unknown("no such object")

    def must_have_proven(self, operation: str) -> None:
        """Raise OwnershipNotProven or OwnMatterNotRefused where the handler has left out a check its rule needs."""
        if self.rule.owners and not self.proven:
            raise OwnershipNotProven(operation)
        if not self.apart.issuperset(self.rule.refusals):
            raise OwnMatterNotRefused(operation)

    def had_this_reply(self) -> None:
        """Count every check as made: the stored reply was given to this same caller before, after all of them."""
        self.proven = True
        self.apart.update(self.rule.refusals)

    def admits_partner(self) -> bool:
        """Return whether a partner calls with a sufficient scope; the service then has to check the consent."""
        if self.client_id is not None and self.scopes & self.rule.scopes:
            self.proven = True
            return True
        return False


CALLER: Final = "caller"
"""The key under which a request's session carries its caller."""


def refuse_own(session: AsyncSession, error: Forbidden, whose: object, *by: object) -> None:
    """Raise the error where one of the people who act is the person whose matter it is."""
    refuse_concerned(session, error, concerned=str(whose) in {str(one) for one in by})


def refuse_concerned(session: AsyncSession, error: Forbidden, *, concerned: bool) -> None:
    """Raise the error where the matter concerns who acts, though it is nobody's own."""
    if concerned:
        raise error
    caller: Caller | None = session.info.get(CALLER)
    if caller is not None:
        caller.apart.add(type(error))


LEEWAY_SECONDS: Final = 30
LONGEST_LIFE_SECONDS: Final = 600
LONGEST_TOKEN: Final = 8192
CACHED_TOKENS: Final = 10_000
KEYS_MAX_AGE_SECONDS: Final = 300.0


class TokenVerifier:
    """Checks access tokens: EdDSA only, `typ: at+jwt`, exact issuer and audience, expiry.

    Claims of verified tokens are cached by the whole token, and their expiry is checked on every hit. The issuer's keys
    are fetched and kept by :class:`IssuerKeys`.
    """

    def __init__(self, issuer: str, audience: str, fetch_keys: FetchKeys, clock: Clock = system_clock) -> None:
        self.issuer, self.audience, self.fetch_keys, self.clock = issuer, audience, fetch_keys, clock
        self._verified: OrderedDict[str, dict[str, Any]] = OrderedDict()  # Any: JWT claims
        self.forget()

    def forget(self) -> None:
        """Forget the issuer's keys and all verified tokens."""
        self._keys = IssuerKeys(IssuerUnreachable, max_age_seconds=KEYS_MAX_AGE_SECONDS)
        self._verified_by = self._keys.known
        self._verified.clear()

    async def verify(self, token: str) -> dict[str, Any]:  # Any: JWT claims
        """Return the token's claims.

        Raises InvalidToken: it is not valid; IssuerUnreachable: the keys to check it with cannot be fetched.
        """
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
        """Return the caller, if the rule admits them.

        Raises InvalidToken (401): there is no valid token; NotPermitted (403): the rule names none of the roles or
        scopes; IssuerUnreachable (503).
        """
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
    roles: object = claims.get("roles", [])
    if not isinstance(roles, list):
        raise InvalidToken("the access token's roles are no list")
    return Caller(rule, id=account, roles=frozenset(map(str, cast("list[object]", roles))))
