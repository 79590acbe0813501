"""The regulations on money as data: one JSON document a version, immutable once in effect."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from shared.clock import later
from shared.regulations import Versions, begins


@dataclass(frozen=True, slots=True)
class Policy:
    """One version, pinned on an order when it is placed."""

    version: str
    effective_from: datetime
    courses_at_most: int
    quote: timedelta
    """How long an order's prices hold."""
    order: timedelta
    """How long an order can be paid."""
    confirm_at: Mapping[str, str]
    """Payment method -> provider status at which the money is certain enough; `otherwise` for the others."""
    underpaid_refund_after: timedelta
    repayment: timedelta
    """How long an order can be paid again whose payment was taken back."""
    refund_takes_effect_within: timedelta
    """How long the provider is asked about a refund that was sent without an answer, until finance decides on it."""
    refund_delay_told_after: timedelta
    """How long a refund that was sent may be without an answer, until the payer is told that it is delayed."""
    cooling_off_days: int
    time_zone: ZoneInfo
    dispute_reasons: frozenset[str]
    ask_after: tuple[timedelta, ...]
    """When the provider is asked about a payment of which it has reported nothing, after the checkout began."""
    ask_every: timedelta
    ask_until_after_expiry: timedelta
    ask_unsettled_every: timedelta
    keep_rejections: timedelta
    keep_notification_bodies: timedelta
    vat_treatment: str
    vat_reason: str

    def confirming_status(self, method: str) -> str:
        return self.confirm_at.get(method, self.confirm_at["otherwise"])

    def day(self, at: datetime) -> str:
        """Return the day as people read it, in the policy's time zone."""
        return f"{at.astimezone(self.time_zone):%-d %B %Y}"

    def next_question(self, began_at: datetime, now: datetime) -> datetime:
        """Return when to ask the provider next about what began then, if it reports nothing by itself."""
        began_at = min(began_at, now)  # else it was seen by a clock that stood ahead
        planned = (later(began_at, delay) for delay in self.ask_after)
        return next((at for at in planned if at > now), now + self.ask_every)


def parse(document: Mapping[str, Any]) -> Policy:  # Any: JSON
    asking, keep = document["asking"], document["keep"]
    return Policy(
        version=document["version"],
        effective_from=begins(document["effective_from"]),
        courses_at_most=document["basket"]["courses_at_most"],
        quote=timedelta(minutes=document["quote_minutes"]),
        order=timedelta(minutes=document["order_minutes"]),
        confirm_at=document["confirm_at"],
        underpaid_refund_after=timedelta(days=document["underpaid"]["refund_after_days"]),
        repayment=timedelta(days=document["repayment"]["days"]),
        refund_takes_effect_within=timedelta(hours=document["refunds"]["take_effect_within_hours"]),
        refund_delay_told_after=timedelta(minutes=document["refunds"]["delay_told_after_minutes"]),
        cooling_off_days=document["cooling_off"]["days"],
        time_zone=ZoneInfo(document["cooling_off"]["time_zone"]),
        dispute_reasons=frozenset(document["disputes"]["reason_codes"]),
        ask_after=tuple(timedelta(minutes=minutes) for minutes in asking["minutes"]),
        ask_every=timedelta(minutes=asking["then_every_minutes"]),
        ask_until_after_expiry=timedelta(days=asking["days_after_expiry"]),
        ask_unsettled_every=timedelta(minutes=asking["unsettled_every_minutes"]),
        keep_rejections=timedelta(days=keep["rejections_days"]),
        keep_notification_bodies=timedelta(days=keep["notification_bodies_days"]),
        vat_treatment=document["vat"]["treatment"],
        vat_reason=document["vat"]["reason"],
    )


versions = Versions("payments", parse)
policy_at, policy_of = versions.in_force, versions.find


def soonest_underpaid_refund() -> timedelta:
    """Return the shortest time after which any version returns money that was too little."""
    return min(version.underpaid_refund_after for version in versions.all.values())


def longest_silence() -> timedelta:
    """Return the longest time ahead that any version plans a question to the provider."""
    return max(max(*one.ask_after, one.ask_every, one.ask_unsettled_every) for one in versions.all.values())


def longest_order() -> timedelta:
    """Return the longest time that any version gives to pay."""
    return max(one.order for one in versions.all.values())


def longest_repayment() -> timedelta:
    """Return the longest time that any version gives to pay again."""
    return max(one.repayment for one in versions.all.values())


def in_utc(at: datetime) -> str:
    """Return an RFC 3339 instant, as in every answer of the API."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
