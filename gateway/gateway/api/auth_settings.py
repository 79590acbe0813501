"""The settings and helpers that signing in uses."""

from dataclasses import dataclass

from gateway.adapters.hashing import Hashing
from gateway.adapters.oidc import OutsideIssuer
from gateway.commands.sessions import SessionPolicy
from gateway.commands.tokens import TokenIssuer
from shared.errors import Forbidden, NotFound


class PasswordsNotOffered(Forbidden):
    """People sign in at their own institution here."""

    remedy = "Sign in with the ID token of your institution."


class NoOutsideIssuer(NotFound):
    """This platform trusts no outside issuer."""

    remedy = "Sign in with e-mail and password: `POST /v1/sign-ins`."


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """What signing in needs: hashing, token issuer, session policy, outside issuer. Built once, in app.py."""

    hashing: Hashing
    token_issuer: TokenIssuer
    session_policy: SessionPolicy
    common_passwords: frozenset[str]
    passwords_offered: bool
    outside: OutsideIssuer | None

    def must_offer_passwords(self) -> None:
        """Check that people may sign in with passwords here.

        :raises PasswordsNotOffered: 403
        """
        if not self.passwords_offered:
            raise PasswordsNotOffered("sign in at your own institution")

    def must_trust(self) -> OutsideIssuer:
        """Return the outside issuer that this platform trusts.

        :raises NoOutsideIssuer: 404
        """
        if self.outside is None:
            raise NoOutsideIssuer("this platform trusts no outside issuer")
        return self.outside
