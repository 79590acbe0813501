"""The payments service, put together."""

from datetime import timedelta
from pathlib import Path

from payments import api
from payments.access import ACCESS
from payments.adapters.flywire import Flywire, FlywireAccount
from payments.adapters.provider import PaymentProvider
from payments.domain.policy import longest_order, longest_repayment, longest_silence
from payments.domain.public_urls import PublicUrls, Seller
from payments.handlers import inbox
from payments.jobs import jobs
from payments.jobs.comparing import Rhythm
from payments.settings import Settings
from shared.digests import Digests
from shared.due_times import DueTime
from shared.service import Service


def build(settings: Settings, provider: PaymentProvider | None = None) -> Service:
    """Basket, orders, checkout, payments, refunds and the ledger; `provider` stands in for the real one."""
    provider = provider or Flywire(
        FlywireAccount(
            url=settings.provider_url,
            api_key=settings.provider_api_key.get_secret_value(),
            secrets=[secret.get_secret_value() for secret in settings.provider_secrets],
            recipient=settings.provider_recipient,
            recipient_field=settings.provider_recipient_field,
            notifications_url=settings.callback_url,
            timeout_seconds=settings.provider_timeout_seconds,
            calls_per_minute=settings.provider_calls_per_minute,
        )
    )
    return Service(
        name="payments",
        title="Payments",
        description=build.__doc__ or "",
        settings=settings,
        versions=Path(__file__).parents[1] / "migrations" / "versions",
        routers=api.routers,
        access=ACCESS,
        inbox=inbox,
        jobs=jobs,
        due_times=[
            *(DueTime(t, "ask_at", longest_silence()) for t in ("checkout_attempts", "payments", "refunds")),
            DueTime("checkout_attempts", "close_at", timedelta()),
            DueTime("payments", "funded_at", timedelta(), "use = 'underpaid'"),
            # What ends by a clock that stood ahead is given its whole time anew.
            *(
                DueTime("orders", "expires_at", longest, f"status = '{status}'", again=longest)
                for status, longest in (("placed", longest_order()), ("reversed", longest_repayment()))
            ),
        ],
        resources={
            PaymentProvider: provider,
            Seller: Seller(settings.seller),
            Rhythm: Rhythm(timedelta(hours=settings.comparison_hours), timedelta(days=settings.comparison_days)),
            PublicUrls: PublicUrls(
                settings.public_url,
                Digests(settings.feed_secret.get_secret_value(), "payments"),
                [*settings.origins, *settings.return_origins],
            ),
        },
    )
