"""Orders whose courses end, are given back and lose their money."""

from uuid import UUID

from sqlalchemy import select

from shared.events.assessment import AttemptsExhausted
from shared.events.enrolment import EnrolmentCancelled, EnrolmentFailed
from shared.messaging.tables import QueuedEmail

from .disputes import delivered
from .enrolments import activated

OF_BOTH, OF_ONE, OF_OTHER = 109000, 49500, 59500


async def bought(driver, *prices):
    """A delivered order of courses that were activated; the order, its payment, and the enrolments by line."""
    titles = ["Given Up", "Still Wanted"]
    order, payment = await delivered(driver, *[await driver.sell(p, t) for p, t in zip(prices, titles, strict=False)])
    begun = [activated(order, line, learner_id=driver.learner_id) for line in range(len(prices))]
    await driver.consume(*begun)
    return order, payment, [one.enrolment_id for one in begun]


async def lose(driver, payment):
    driver.clock.advance(seconds=1)
    await driver.status(payment, "reversed")


def end(driver, order, enrolments, kind="withdrawn", line=0):
    who = {
        "enrolment_id": enrolments[line],
        "learner_id": driver.learner_id,
        "course_id": UUID(order["lines"][line]["course_id"]),
    }
    match kind:
        case "attempts exhausted":
            return AttemptsExhausted(**who, attempts_used=3, exhausted_at=driver.clock())
        case "failed":
            return EnrolmentFailed(**who, sequence=3, failed_at=driver.clock())
        case reason:
            return EnrolmentCancelled(**who, reason_code=reason, sequence=3, cancelled_at=driver.clock())


async def e_mailed(driver, kind):
    texts = select(QueuedEmail.text).where(QueuedEmail.kind == kind).order_by(QueuedEmail.email_id)
    return (await driver.session.scalars(texts)).all()


async def grant(driver, order, line=0):
    line_id = order["lines"][line]["order_line_id"]
    async with driver.service.client("finance") as finance:
        path = f"/v1/orders/{order['order_id']}/lines/{line_id}/granted-refund"
        return await finance.post(path, json={"reason_code": "goodwill"})
