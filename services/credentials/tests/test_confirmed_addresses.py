"""A badge is made out to an address only once somebody has proven that it is theirs."""

import pytest
from sqlalchemy import delete, select, text, update

from credentials import jobs
from credentials.queries.people import confirmed_email
from credentials.tables.issued import Badge
from credentials.tables.people import Learner, Person
from openbadges.badges import identity_hash
from shared.directory import LocalDirectory
from shared.events.enrolment import LearnerAnonymised, LearnerContactChanged
from shared.ids import new_id
from shared.messaging import RetryLater

from .announcements import BEFORE, DS, consume, course, credit, let_time_work, person, registered, revoked, work_of
from .erasure import identifiers, sign_while

ADDRESS = "ada@x.example"


def confirmed(learner, version=2):
    return LearnerContactChanged(learner_id=learner, contact_version=version, changed_at=BEFORE)


def entry(learner, version, is_confirmed, address=ADDRESS):
    return person(learner, contact_version=version, contact_confirmed=is_confirmed, contact_email=address)


class Enrolment:
    """One learner with two badges; what enrolment's directory says of them, and when it is read."""

    def __init__(self, service, session, learner):
        self.service, self.session, self.learner = service, session, learner
        self.directory = LocalDirectory()

    async def says(self, version, is_confirmed, address=ADDRESS):
        self.directory.write(entry(self.learner, version, is_confirmed, address))
        await self.work()

    async def work(self):
        work = work_of(self.service, self.directory)
        await jobs.read_people(work)
        await jobs.read_confirmations(work)
        await jobs.sign_badges(work)

    async def names(self, address=ADDRESS):
        """Whether each badge bears this address; None where it bears none."""
        said = await identifiers(self.session, self.learner)
        assert len(said) == 2
        return [identity_hash(address, one[0]["salt"]) == one[0]["identityHash"] if one else None for one in said]

    async def versions(self):
        self.session.expire_all()
        return list(await self.session.scalars(select(Badge.version)))

    async def held(self):
        self.session.expire_all()
        return await self.session.get(Person, self.learner)


@pytest.fixture
async def enrolment(service, session, clock):
    learner = new_id()
    passes = [(course(code, DS), credit(learner, code, DS)) for code in ("DS01", "DS02")]
    await consume(session, registered(learner), *(event for pair in passes for event in pair))
    return Enrolment(service, session, learner)


async def test_a_badge_says_nothing_of_an_address_until_it_is_confirmed(enrolment):
    await enrolment.says(1, is_confirmed=False)
    assert await enrolment.names() == [None, None]
    await consume(enrolment.session, confirmed(enrolment.learner))
    await enrolment.says(2, is_confirmed=True)
    assert await enrolment.names() == [True, True]
    assert await enrolment.versions() == [2, 2]
    await enrolment.work()
    assert await enrolment.versions() == [2, 2]


async def test_emails_go_to_it_all_the_same(enrolment, clock):
    await enrolment.says(1, is_confirmed=False)
    lost = revoked(enrolment.learner, "DS01").model_copy(update={"revoked_at": clock()})
    await consume(enrolment.session, lost)
    await jobs.queue_emails(work_of(enrolment.service, enrolment.directory))
    recipients = await enrolment.session.scalars(text("select distinct recipient from letters"))
    assert list(recipients) == [ADDRESS]


async def test_the_confirmation_may_overtake_the_registration(service, session, clock):
    learner = new_id()
    with pytest.raises(RetryLater):  # it comes again
        await consume(session, confirmed(learner))
    await consume(session, registered(learner), confirmed(learner), registered(learner))
    directory = LocalDirectory(entry(learner, 1, is_confirmed=False))  # an answer from before
    await jobs.read_people(work_of(service, directory))
    directory.write(entry(learner, 2, is_confirmed=True))
    clock.advance(minutes=1)
    await jobs.read_people(work_of(service, directory))
    assert await session.scalar(select(confirmed_email())) == ADDRESS
    await consume(session, course("DS01", DS), credit(learner, "DS01", DS))
    await let_time_work(service)
    [[identity]] = await identifiers(session, learner)
    assert identity["identityHash"] == identity_hash(ADDRESS, identity["salt"])


async def test_who_moves_before_confirming_is_known_by_the_new_address_alone(enrolment):
    await enrolment.says(1, is_confirmed=False)
    await consume(enrolment.session, confirmed(enrolment.learner))
    await enrolment.says(2, is_confirmed=True, address="new@x.example")
    assert await enrolment.names("new@x.example") == [True, True]


async def test_what_is_confirmed_while_it_is_signed_is_signed_again(enrolment):
    enrolment.directory.write(entry(enrolment.learner, 1, is_confirmed=False))
    await jobs.read_people(work_of(enrolment.service, enrolment.directory))

    async def confirm():
        await consume(enrolment.session, confirmed(enrolment.learner))
        enrolment.directory.write(entry(enrolment.learner, 2, is_confirmed=True))
        await jobs.read_people(work_of(enrolment.service, enrolment.directory))

    await sign_while(enrolment.service, enrolment.session, confirm)
    await enrolment.work()
    assert await enrolment.names() == [True, True]


async def test_who_is_erased_before_confirming_stays_unnamed(enrolment):
    await enrolment.says(1, is_confirmed=False)
    await consume(enrolment.session, LearnerAnonymised(learner_id=enrolment.learner, anonymised_at=BEFORE))
    await consume(enrolment.session, confirmed(enrolment.learner))
    await enrolment.says(2, is_confirmed=True)
    assert await enrolment.names() == [None, None]
    assert await enrolment.held() is None


# --- releases side by side


async def test_the_previous_enrolment_does_not_tell_and_is_asked_again(enrolment):
    await enrolment.says(1, is_confirmed=None)
    assert await enrolment.names() == [None, None]
    await enrolment.says(1, is_confirmed=True)
    assert await enrolment.names() == [True, True]
    await enrolment.session.execute(update(Learner).values(unread=True))
    await enrolment.says(1, is_confirmed=None)  # a replica of the previous release knows no better
    held = await enrolment.held()
    assert (held.email_confirmed, held.confirmation_version) == (True, 1)


async def test_what_the_previous_credentials_wrote_down_is_asked_again(enrolment):
    await enrolment.says(1, is_confirmed=False)
    await enrolment.session.execute(update(Person).values(contact_version=2))
    await enrolment.session.execute(update(Learner).values(contact_version=2))
    assert await enrolment.session.scalar(select(confirmed_email())) is None
    await enrolment.says(2, is_confirmed=True)
    assert await enrolment.names() == [True, True]


async def test_badges_issued_before_stand_and_are_not_renewed_where_they_are_right(enrolment):
    await enrolment.says(1, is_confirmed=True)
    await enrolment.session.execute(update(Person).values(confirmation_version=None, email_confirmed=False))
    await enrolment.says(1, is_confirmed=False)
    assert (await enrolment.names(), await enrolment.versions()) == ([True, True], [1, 1])
    await consume(enrolment.session, confirmed(enrolment.learner))
    await enrolment.says(2, is_confirmed=True)
    assert (await enrolment.names(), await enrolment.versions()) == ([True, True], [1, 1])


async def test_the_copy_read_again_from_nothing_says_the_same(enrolment):
    await enrolment.says(1, is_confirmed=False)
    await consume(enrolment.session, confirmed(enrolment.learner))
    await enrolment.says(2, is_confirmed=True)
    before = await enrolment.versions()
    await enrolment.session.execute(delete(Person))
    await enrolment.session.execute(update(Learner).values(unread=True, contact_version=1))
    await enrolment.work()
    assert (await enrolment.names(), await enrolment.versions()) == ([True, True], before)
