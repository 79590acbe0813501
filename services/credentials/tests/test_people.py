"""Who the learners are: read from enrolment's directory, never stated in events, erased when enrolment says so."""

import pytest
from sqlalchemy import delete, select, update

from credentials.jobs import read_people
from credentials.tables.documents import Document, Edition
from credentials.tables.people import Learner, Person
from shared.directory import DirectoryUnreachable, LocalDirectory, UnreadableEntry
from shared.events.enrolment import LearnerAnonymised, LearnerContactChanged, LearnerNameChanged
from shared.ids import new_id
from shared.messaging import RetryLater
from shared.messaging.tables import SetAside

from .announcements import BEFORE, consume, course, credit, person, registered, work_of


def renamed(learner, version=2):
    return LearnerNameChanged(learner_id=learner, name_version=version, changed_at=BEFORE)


def moved(learner, version=2):
    return LearnerContactChanged(learner_id=learner, contact_version=version, changed_at=BEFORE)


class Asked(LocalDirectory):
    """A directory that remembers whom it was asked for."""

    def __init__(self, *entries):
        super().__init__(*entries)
        self.asked = []

    async def read(self, kind, keys):
        self.asked.append(sorted(keys))
        return await super().read(kind, keys)


class Odd(LocalDirectory):
    """A directory of which one entry cannot be read."""

    def __init__(self, odd, *entries):
        super().__init__(*entries)
        self.odd = odd

    async def read(self, kind, keys):
        if self.odd in keys:
            raise UnreadableEntry("an entry of people cannot be read")
        return await super().read(kind, keys)


async def held(session, learner):
    session.expire_all()
    return await session.get(Person, learner)


async def test_a_registered_learner_is_looked_up_once(service, session, clock):
    learner = new_id()
    directory = Asked(person(learner, family_name="Кузнецова", given_name="Анна", display_name="Anna"))
    await consume(session, registered(learner))
    await read_people(work_of(service, directory))
    await read_people(work_of(service, directory))
    assert directory.asked == [[learner]]
    row = await held(session, learner)
    assert (row.legal_name, row.display_name, row.name_version) == ("Анна Кузнецова", "Anna", 1)
    assert (row.email, row.read_at) == (f"{learner.hex}@learner.example", clock())


async def test_one_entry_that_cannot_be_read_keeps_no_other_name_away(service, session, clock):
    odd, *others = (new_id() for _ in range(4))
    for learner in (odd, *others):
        await consume(session, registered(learner))
    await read_people(work_of(service, Odd(odd, *(person(learner) for learner in others))))
    assert [(await held(session, learner)) is not None for learner in (odd, *others)] == [False, True, True, True]
    aside = await session.scalars(select(SetAside.row_key).where(SetAside.job == "read_people"))
    assert aside.all() == [str(odd)]


async def test_somebody_with_a_single_name_has_just_that(service, session, clock):
    learner = new_id()
    await consume(session, registered(learner))
    await read_people(work_of(service, LocalDirectory(person(learner, given_name=None, family_name="Suharto"))))
    assert (await held(session, learner)).legal_name == "Suharto"


@pytest.mark.parametrize("change", [renamed, moved])
async def test_a_change_is_looked_up_whatever_comes_twice(service, session, clock, change):
    learner = new_id()
    directory = LocalDirectory(person(learner))
    await consume(session, registered(learner))
    await read_people(work_of(service, directory))
    directory.write(
        person(learner, family_name="King", contact_email="ada@king.example", name_version=3, contact_version=3)
    )
    await read_people(work_of(service, directory))
    assert (await held(session, learner)).legal_name == "Ada Lovelace"  # nobody said it had changed
    await consume(session, change(learner, 3), change(learner, 2), registered(learner))
    await read_people(work_of(service, directory))
    row = await held(session, learner)
    assert (row.legal_name, row.email, row.name_version) == ("Ada King", "ada@king.example", 3)


async def test_an_answer_older_than_what_is_held_changes_nothing(service, session, clock):
    learner = new_id()
    await consume(session, registered(learner), renamed(learner, 2))
    await read_people(work_of(service, LocalDirectory(person(learner, name_version=2, family_name="King"))))
    await consume(session, renamed(learner, 3))
    await read_people(work_of(service, LocalDirectory(person(learner, name_version=1))))
    assert (await held(session, learner)).legal_name == "Ada King"


LARGEST = 2**31 - 1
FEW = 12
"""Times that somebody is asked about before what the directory says is believed: in a batch, then alone."""


async def ask_for_an_hour(service, session, clock, directory):
    """Run the job each minute; return how often the directory was asked."""
    before = len(directory.asked)
    for _ in range(60):
        await read_people(work_of(service, directory))
        clock.advance(minutes=1)
    return len(directory.asked) - before


async def aside(session):
    return list(await session.scalars(select(SetAside.row_key).where(SetAside.job == "read_people")))


@pytest.mark.parametrize("which", ["name_version", "contact_version"])
async def test_a_version_that_enrolment_never_had_is_believed_no_longer_than_it_answers_so(
    service, session, clock, which
):
    learner, other = new_id(), new_id()
    directory = Asked(person(learner, **{which: LARGEST}), person(other))
    await consume(session, registered(learner), registered(other))
    await read_people(work_of(service, directory))
    directory.write(person(learner, family_name="King", contact_email="ada@king.example", **{which: 2}))
    await consume(session, renamed(learner) if which == "name_version" else moved(learner))
    await read_people(work_of(service, directory))
    assert await aside(session) == [str(learner)]  # where a person sees it
    assert (await held(session, learner)).legal_name == "Ada Lovelace"
    assert await ask_for_an_hour(service, session, clock, directory) <= FEW
    row = await held(session, learner)
    assert (row.legal_name, row.email, getattr(row, which)) == ("Ada King", "ada@king.example", 2)
    assert await aside(session) == []
    assert await ask_for_an_hour(service, session, clock, directory) == 0


async def test_a_version_that_was_announced_and_never_was_is_not_asked_for_for_ever(service, session, clock):
    learner = new_id()
    directory = Asked(person(learner, name_version=2, family_name="King"))
    await consume(session, registered(learner), renamed(learner, LARGEST))
    assert await ask_for_an_hour(service, session, clock, directory) <= FEW
    assert (await held(session, learner)).legal_name == "Ada King"
    assert await ask_for_an_hour(service, session, clock, directory) == 0
    directory.write(person(learner, name_version=3, family_name="Smith"))
    await consume(session, renamed(learner, 3))
    await read_people(work_of(service, directory))
    assert (await held(session, learner)).legal_name == "Ada Smith"


async def test_a_version_that_is_given_out_again_is_read_again(service, session, clock):
    """Enrolment was set back to an earlier moment, and the learner's name was changed anew."""
    learner = new_id()
    directory = Asked(person(learner, name_version=3, family_name="King"))
    await consume(session, registered(learner), renamed(learner, 3))
    await read_people(work_of(service, directory))
    for version, name in ((3, "Smith"), (2, "Jones")):
        directory.write(person(learner, name_version=version, family_name=name))
        await consume(session, renamed(learner, version))
        await ask_for_an_hour(service, session, clock, directory)
        row = await held(session, learner)
        assert (row.legal_name, row.name_version) == (f"Ada {name}", version)


async def test_an_answer_that_another_overtook_sets_nobody_aside(service, session, clock):
    learner = new_id()
    newer = LocalDirectory(person(learner, name_version=2, family_name="King"))

    class Slow(LocalDirectory):
        async def read(self, kind, keys):
            await read_people(work_of(service, newer))
            return await super().read(kind, keys)

    await consume(session, registered(learner), renamed(learner, 2))
    await read_people(work_of(service, Slow(person(learner))))
    assert (await held(session, learner)).legal_name == "Ada King"
    assert await aside(session) == []


async def test_the_anonymised_are_forgotten_and_not_asked_for_again(service, session, clock):
    learner = new_id()
    directory = Asked(person(learner))
    await consume(session, registered(learner))
    await read_people(work_of(service, directory))
    await consume(session, LearnerAnonymised(learner_id=learner, anonymised_at=clock()), renamed(learner, 9))
    await read_people(work_of(service, directory))
    assert await held(session, learner) is None
    assert len(directory.asked) == 1


async def test_an_answer_that_comes_after_the_erasure_is_not_kept(service, session, clock):
    learner = new_id()
    await consume(session, registered(learner))

    class Slow(LocalDirectory):
        async def read(self, kind, keys):
            await consume(session, LearnerAnonymised(learner_id=learner, anonymised_at=clock()))
            return await super().read(kind, keys)

    await read_people(work_of(service, Slow(person(learner))))
    assert await held(session, learner) is None


async def test_those_without_an_entry_hold_up_nobody(service, session, clock, monkeypatch):
    monkeypatch.setattr("credentials.jobs.MOST_KEYS", 2)
    learners = sorted(new_id() for _ in range(5))
    for learner in learners:
        await consume(session, registered(learner))
    await read_people(work_of(service, LocalDirectory(person(learners[-1]))))
    assert list(await session.scalars(select(Person.learner_id))) == [learners[-1]]


@pytest.mark.parametrize(
    "event",
    [renamed, moved, lambda learner: LearnerAnonymised(learner_id=learner, anonymised_at=BEFORE)],
)
async def test_an_event_about_an_unknown_learner_waits(service, session, clock, event):
    with pytest.raises(RetryLater):
        await consume(session, event(new_id()))


async def test_while_enrolment_is_away_nothing_is_lost(service, session, clock):
    class Away(LocalDirectory):
        async def read(self, kind, keys):
            raise DirectoryUnreachable("away")

    learner = new_id()
    await consume(session, registered(learner))
    with pytest.raises(DirectoryUnreachable):
        await read_people(work_of(service, Away()))
    await read_people(work_of(service, LocalDirectory(person(learner))))
    assert await held(session, learner) is not None
    await session.execute(delete(Person))


async def test_a_name_may_be_written_in_any_order_and_script(service, session, clock):
    learner = new_id()
    await consume(session, registered(learner))
    entry = person(learner, family_name="王", given_name="小明", certificate_name="王小明")
    await read_people(work_of(service, LocalDirectory(entry)))
    assert (await held(session, learner)).legal_name == "王小明"


async def test_documents_change_to_no_name_that_no_registrar_decided_on(service, session, clock):
    learner = new_id()
    directory = LocalDirectory(person(learner))
    await consume(session, course("DS01", "Data Science"), registered(learner), credit(learner, "DS01", "Data Science"))
    await read_people(work_of(service, directory))

    async def printed():
        editions = select(Edition.content).join(Document, Document.document_id == Edition.document_id)
        rows = await session.scalars(editions.where(Document.learner_id == learner))
        return {content["name"] for content in rows}

    assert await printed() == {"Ada Lovelace"}
    await session.execute(delete(Person))  # the copy is read again from nothing
    directory.write(person(learner, family_name="Mallory"))
    await session.execute(update(Learner).values(unread=True))
    await read_people(work_of(service, directory))
    assert (await held(session, learner)).legal_name == "Ada Lovelace"
    assert await printed() == {"Ada Lovelace"}
    for version, changes in enumerate(({"family_name": "Smith"}, {"certificate_name": "Dr Smith"}), start=2):
        directory.write(person(learner, name_version=version, display_name="Smith", **changes))
        await consume(session, renamed(learner, version))
        await read_people(work_of(service, directory))
        row = await held(session, learner)
        assert (row.legal_name, row.display_name, row.name_version) == ("Ada Lovelace", "Smith", version)
        assert await printed() == {"Ada Lovelace"}
    directory.write(person(learner, name_version=4, family_name="King", name_decided=True))
    await consume(session, renamed(learner, 4))
    await read_people(work_of(service, directory))
    assert (await held(session, learner)).legal_name == "Ada King"
    assert await printed() == {"Ada Lovelace", "Ada King"}
