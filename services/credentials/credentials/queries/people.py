"""Who the learners are, and whose copy here is older than what enrolment has."""

from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, case, select

from credentials import tables


def outdated_people() -> Select[UUID]:
    """Learners, in the order of their ids, whose name or address is not here as it is in use."""
    learner = tables.Learner
    return (
        select(learner.learner_id).where(learner.unread, learner.anonymised_at.is_(None)).order_by(learner.learner_id)
    )


def untold_people() -> Select[UUID]:
    """Learners, in the order of their ids, of whose address nobody has told whether it is confirmed: another release
    of enrolment's answered, or another release of ours wrote down what it answered."""
    person = tables.Person
    return (
        select(person.learner_id)
        .where(person.told_version.is_distinct_from(person.contact_version))
        .order_by(person.learner_id)
    )


def confirmed_email() -> ColumnElement[str | None]:
    """Of a person: the address that may stand in a badge, null where there is none."""
    person = tables.Person
    return case((and_(person.email_confirmed, person.told_version == person.contact_version), person.email))
