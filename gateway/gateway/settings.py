"""Settings of the gateway."""

from datetime import timedelta
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from gateway.edge.guard import Limits
from gateway.edge.proxy import ProxyPolicy
from gateway.edge.rate_limit import Policy
from shared.secret_box import SecretBox, derive_key
from shared.settings import ServiceSettings, WrappingKey

_RATES = {
    "anonymous": (600, 60),
    "person": (1200, 60),
    "partner": (1200, 60),
    "credentials": (60, 60),
    "callbacks": (1200, 60),
    "verifications": (60, 60),
    "searches": (60, 60),
}


class Settings(ServiceSettings):
    wrapping_key: WrappingKey = Field(
        description="Encrypts signing keys at rest and makes refresh tokens: 32 random bytes in base64. The same on "
        "all replicas, and kept apart from the database and its backups"
    )
    services: dict[str, str] = Field(
        description='Address of each service, as JSON: {"catalogue": "http://catalogue:8000"}'
    )
    internal_port: int | None = Field(
        default=None, description="Where this service's own /metrics and /internal/events are; nowhere if not given"
    )
    routes_file: Path | None = Field(default=None, description="Another routing table than the one shipped")
    trusted_hops: int = Field(
        default=0,
        ge=0,
        description="Proxies of ours in front, which append X-Forwarded-For. Too few, and everybody behind one counts "
        "as one client, whose allowances and wrong comparisons of a document are shared; too many, and anybody may "
        "choose an address",
    )
    rates: dict[str, tuple[int, int]] = Field(
        default_factory=dict, description='Requests and seconds by policy, as JSON: {"anonymous": [600, 60]}'
    )
    body_bytes: int = Field(default=1_048_576, description="Largest body where the route names none")
    timeout_seconds: float = Field(default=30.0, description="For an answer, where the route names none")

    sample_accounts: dict[str, str] = Field(
        default_factory=dict, description="A sandbox's, as JSON: role and e-mail address, shown on its front page"
    )
    access_minutes: float = Field(default=10, gt=0, le=10, description="How long a person's access token is valid")
    partner_minutes: float = Field(default=5, gt=0, le=10, description="How long a partner's access token is valid")
    session_days: float = Field(default=30, gt=0, description="How long a sign-in lasts, however often it is renewed")
    refresh_grace_seconds: float = Field(
        default=10, ge=0, le=60, description="How long a refresh token that was used may come again, from a lost answer"
    )
    password_sign_in: bool = Field(default=True, description="Off where an outside issuer alone decides")
    oidc_issuer: str | None = Field(default=None, description="An OpenID Connect issuer to trust besides")
    oidc_jwks_url: str | None = Field(default=None, description="Where that issuer publishes its keys")
    oidc_audience: str | None = Field(default=None, description="This platform's client id at that issuer")

    @model_validator(mode="after")
    def _outside_issuer_whole(self) -> Self:
        given = [self.oidc_issuer, self.oidc_jwks_url, self.oidc_audience]
        if any(given) and not all(given):
            raise ValueError("MC_OIDC_ISSUER, MC_OIDC_JWKS_URL and MC_OIDC_AUDIENCE belong together")
        if not self.password_sign_in and not all(given):
            raise ValueError("without passwords an outside issuer must be given")
        return self

    def secret_box(self) -> SecretBox:
        """Return the box that holds the signing keys."""
        return SecretBox(self._derived("signing keys"))

    def refresh_secret(self) -> bytes:
        """Return the secret that refresh tokens are derived from."""
        return self._derived("refresh tokens")

    def _derived(self, purpose: str) -> bytes:
        text = self.wrapping_key.get_secret_value()  # and not its bytes: what is stored was sealed so
        return derive_key(text.encode(), f"microcredentials/gateway/{purpose}")

    def policies(self) -> dict[str, Policy]:
        """Return the rate-limit policies by name: those of this module, replaced by the setting's."""
        return {name: Policy(name, quota, window) for name, (quota, window) in {**_RATES, **self.rates}.items()}

    def proxy_policy(self) -> ProxyPolicy:
        return ProxyPolicy(
            limits=Limits(body=self.body_bytes),
            timeout=self.timeout_seconds,
            scheme=self.public_url.partition(":")[0],
            trusted_hops=self.trusted_hops,
        )

    def access_life(self) -> timedelta:
        return timedelta(minutes=self.access_minutes)
