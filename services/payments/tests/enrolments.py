"""What enrolment announces about an order line."""

from datetime import UTC, datetime
from uuid import UUID

from shared.events.enrolment import EnrolmentActivated
from shared.ids import new_id

AT = datetime(2026, 6, 1, tzinfo=UTC)


def activated(order, line=0, **changes) -> EnrolmentActivated:
    values = {
        "enrolment_id": new_id(),
        "learner_id": new_id(),
        "course_id": UUID(order["lines"][line]["course_id"]),
        "course_version_id": UUID(order["lines"][line]["course_version_id"]),
        "order_id": UUID(order["order_id"]),
        "order_line_id": UUID(order["lines"][line]["order_line_id"]),
        "regulations_version": "mc-regs-2026.2",
        "activated_at": AT,
    }
    return EnrolmentActivated(**(values | changes))
