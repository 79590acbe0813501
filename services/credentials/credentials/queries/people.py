"""Who the learners are, and whose copy here is older than what enrolment has."""

from uuid import UUID

from sqlalchemy import Select, select

from credentials import tables


def outdated_people() -> Select[UUID]:
    """Learners, in the order of their ids, whose name or address is not here as it is in use."""
    learner = tables.Learner
    return (
        select(learner.learner_id).where(learner.unread, learner.anonymised_at.is_(None)).order_by(learner.learner_id)
    )
