"""Settings of payments, from the environment: `MC_PROVIDER_URL` and so on."""

from pydantic import Field, SecretStr

from shared.settings import OriginList, ServiceSettings


class Settings(ServiceSettings):
    provider_url: str = Field(
        default="http://localhost:8006", description="The payment provider's API; the sandbox provider in development"
    )
    provider_api_key: SecretStr = Field(description="Sent as X-Authentication-Key")
    provider_secrets: list[SecretStr] = Field(
        min_length=1, description="Shared secrets that may sign callbacks, as JSON; two while one is being replaced"
    )
    provider_recipient: str = Field(default="FWU", description="The portal that receives the money")
    provider_recipient_field: str = Field(
        default="order_reference", description="The field that portal requires of every payment"
    )
    provider_timeout_seconds: float = Field(
        default=8.0, gt=0, lt=25, description="How long an answer of the provider is waited for"
    )
    provider_calls_per_minute: int = Field(
        default=0,
        ge=0,
        description="At most so many calls; 0 for no limit. Flywire, the provider, blocks an address above 500",
    )
    comparison_hours: float = Field(
        default=24, gt=0, description="How often the provider's list is held against the books"
    )
    comparison_days: int = Field(default=35, ge=1, description="What was created in so many days is compared")
    seller: str = Field(
        default="Microcredentials platform", min_length=1, description="Who sells, as receipts say it: name, address"
    )
    notifications_url: str | None = Field(
        default=None, description="Where the provider sends callbacks; by default under public_url"
    )
    return_origins: OriginList = Field(
        default_factory=list,
        description="Origins a payer may be sent back to besides public_url's own and those whose pages may call",
    )

    @property
    def callback_url(self) -> str:
        return self.notifications_url or f"{self.public_url.rstrip('/')}/v1/payment-notifications"
