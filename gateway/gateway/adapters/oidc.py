"""An outside OpenID Connect issuer, e.g. a university's own sign-in: its ID token opens a session here.

Services trust our own tokens alone, so an account's id does not depend on its issuer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx
import jwt

from shared.errors import Unauthenticated, Unavailable
from shared.issuer_keys import IssuerKeys
from shared.peers import PeerAway, ask, json_of

_MAX_AGE: Final = 3600.0  # seconds
_LONGEST: Final = 8192
_LEEWAY: Final = 30
_READ_SECONDS: Final = 10.0
_ALGORITHMS: Final = ("EdDSA", "ES256", "PS256", "RS256")


class InvalidIdToken(Unauthenticated):
    """Not an ID token of the trusted issuer for this platform."""

    remedy = "Fetch a fresh ID token from your institution and send that."


class IssuerAway(Unavailable):
    """The outside issuer's keys cannot be fetched."""


class EmailNotVerified(Unauthenticated):
    """The issuer has not verified this person's e-mail address, so it proves nothing here."""

    remedy = "Have your institution verify your e-mail address, then sign in anew."


@dataclass(frozen=True, slots=True)
class Identity:
    issuer: str
    subject: str
    email: str


class OutsideIssuer:
    """The trusted issuer. `audience` is this platform's client id there; `http` may use the environment's proxy."""

    def __init__(self, issuer: str, jwks_url: str, audience: str, http: httpx.AsyncClient) -> None:
        self.issuer, self._jwks_url, self._audience, self.http = issuer, jwks_url, audience, http
        self._keys = IssuerKeys(IssuerAway, max_age_seconds=_MAX_AGE)

    async def identify(self, id_token: str) -> Identity:
        """Verify an ID token. Returns the identity it is about.

        :raises InvalidIdToken: 401
        :raises EmailNotVerified: 401
        :raises IssuerAway: 503
        """
        if len(id_token) > _LONGEST:
            raise InvalidIdToken("the ID token is too long")
        try:
            header = jwt.get_unverified_header(id_token)
            if header.get("alg") not in _ALGORITHMS or "crit" in header or header.get("typ", "JWT") != "JWT":
                raise InvalidIdToken("not an ID token of the trusted issuer")
            key = await self._keys.find(str(header.get("kid", "")), self._fetch)
            if key is None:
                raise InvalidIdToken("signed by a key the issuer does not publish")
            claims: Mapping[str, Any] = jwt.decode(
                id_token,
                key.key,
                algorithms=[key.algorithm_name],
                audience=self._audience,
                issuer=self.issuer,
                leeway=_LEEWAY,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except jwt.InvalidTokenError as error:
            raise InvalidIdToken("not an ID token of the trusted issuer") from error
        email = claims.get("email")
        if not isinstance(email, str) or claims.get("email_verified") is not True:
            raise EmailNotVerified("the issuer has not verified your e-mail address")
        return Identity(self.issuer, str(claims["sub"]), email)

    async def _fetch(self) -> Mapping[str, Any]:  # Any: JSON
        try:
            answer = await ask(self.http, "GET", self._jwks_url, within=_READ_SECONDS)
            return json_of(answer)
        except PeerAway as error:
            raise IssuerAway("your issuer cannot be reached", headers={"Retry-After": "1"}) from error
