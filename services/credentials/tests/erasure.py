"""Learners who are anonymised, and what is left of them."""

import asyncio

from sqlalchemy import select

from credentials import jobs
from credentials.adapters.credential_issuer import CredentialIssuer
from credentials.commands import issuing, keys
from credentials.queries.issued import badges_to_sign, due_badges
from credentials.tables.issued import Badge
from shared.directory import LocalDirectory
from shared.events.enrolment import LearnerContactChanged
from shared.ids import new_id

from .announcements import DS, consume, course, credit, person, registered, work_of


async def sign_while(service, session, between) -> None:
    """The steps of the job, and something that is committed while it signs."""
    work = work_of(service)
    credential_issuer = work.resource(CredentialIssuer)
    waiting = await badges_to_sign(session, list(await session.scalars(due_badges())))
    assert waiting
    signers = await keys.signers(session, credential_issuer)
    signed = await asyncio.to_thread(issuing.sign_badges, waiting, credential_issuer, signers, work.now())
    await between()
    await issuing.store_badges(session, signed, credential_issuer, signers, work.now())
    await session.flush()


async def identifiers(session, learner) -> list[dict]:
    session.expire_all()
    rows = await session.scalars(select(Badge).where(Badge.learner_id == learner))
    return [row.document["credentialSubject"].get("identifier", []) for row in rows]


async def holder(service, session, **changes: object):
    learner = new_id()
    await consume(session, course("DS01", DS), registered(learner), credit(learner, "DS01", DS))
    await jobs.read_people(work_of(service, LocalDirectory(person(learner, **changes))))
    return learner


async def moved(service, session, clock, learner) -> LocalDirectory:
    directory = LocalDirectory(person(learner, contact_version=2, contact_email="new@x.example"))
    await consume(session, LearnerContactChanged(learner_id=learner, contact_version=2, changed_at=clock()))
    await jobs.read_people(work_of(service, directory))
    return directory
