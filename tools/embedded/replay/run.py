"""The replay: term by term, each presentation is put on sale and bought, work is handed in, marked and ratified."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from embedded.replay.journal import Journal
from embedded.replay.learners import Student
from embedded.replay.mapping import Ending, Plan, mapping, mark, work
from embedded.replay.oulad import Registration
from embedded.replay.progress import Progress, each
from embedded.replay.staff import Course, Staff, sha256

Turn = tuple[Student, Plan]


@dataclass
class Replay:
    """One run and what it has done so far."""

    staff: Staff
    journal: Journal
    students: dict[int, Student]
    plans: dict[int, list[Plan]]
    presentations: dict[str, list[str]]
    """The presentations of each module, in order."""
    at_once: int
    progress: Progress
    windows: list[str] = field(default_factory=list[str])
    courses: dict[str, list[Course]] = field(default_factory=dict[str, list[Course]])
    """The courses of each module, as now on sale."""

    async def go(self) -> None:
        """Replay everything, in the order of presentations; raises Refused, Mismatch, OtherPlatform, TimeoutError."""
        await self.staff.found()
        terms = sorted({one for presentations in self.presentations.values() for one in presentations})
        for term in terms:
            await self._publish(term)
            await self._buy(term)
            for number in range(1, max((plan.rounds for _, plan in self._of(term)), default=0) + 1):
                await self._round(term, number)

    def _of(self, term: str, wanted: Callable[[Plan], bool] = lambda _: True) -> list[Turn]:
        return [
            (self.students[learner], plan)
            for learner, made in self.plans.items()
            for plan in made
            if plan.registration.presentation == term and wanted(plan)
        ]

    async def _publish(self, term: str) -> None:
        modules = [module for module, presentations in self.presentations.items() if term in presentations]

        async def publish(module: str) -> None:
            version = self.presentations[module].index(term) + 1
            self.courses[module] = await self.staff.publish(module, term, version)

        await each(self.progress, f"{term}  publishing", modules, publish, at_once=1)

    async def _buy(self, term: str) -> None:
        async def buy(student: Student, plan: Plan) -> None:
            courses, step = self.courses[plan.registration.module], step_of(plan)
            await student.arrive()
            if plan.ending is Ending.REFUSED:
                await student.be_refused(step, courses)
            else:
                await student.buy(plan, step, courses, twice=plan.in_two_tabs)

        async def enrol(student: Student, plan: Plan) -> None:
            await student.be_enrolled(plan, step_of(plan), self.courses[plan.registration.module])
            if plan.ending is Ending.COOLED_OFF:
                await student.cool_off(plan, step_of(plan))

        await self._by_learner(f"{term}  registering & paying", self._of(term), buy)
        sold = self._of(term, lambda plan: plan.ending is not Ending.REFUSED)
        await self._by_learner(f"{term}  being enrolled", sold, enrol)

    async def _round(self, term: str, number: int) -> None:
        name = f"{term}/{number}"
        there = self._of(term, lambda plan: number <= plan.rounds)
        window_id = await self.staff.open_window(name)
        self.windows.append(window_id)

        async def hand_in(student: Student, plan: Plan) -> None:
            await student.arrive()
            step = step_of(plan, number)
            if number > 1:  # attempts may be used up
                courses = self.courses[plan.registration.module]
                await student.buy(plan, step, courses)
                await student.be_enrolled(plan, step, courses)
            if plan.hands_in(number):
                await student.hand_in(plan, step, number, window_id)

        async def leave(student: Student, plan: Plan) -> None:
            await student.leave(plan, step_of(plan, number))

        await self._by_learner(f"{term}  attempt {number}: handing in", there, hand_in)
        leaving = [(student, plan) for student, plan in there if plan.leaves(number)]
        await self._by_learner(f"{term}  attempt {number}: withdrawing", leaving, leave)
        await self._judge(name, window_id, [plan for _, plan in there], f"{term}  attempt {number}: marking")

    async def _judge(self, name: str, window_id: str, taking_part: Sequence[Plan], what: str) -> None:
        """Close the window, mark the work, release the results and let the board ratify them."""
        if self.journal.find(f"{name}/ratified") is not None:
            return
        number = int(name.rpartition("/")[2])
        marks: dict[str, Decimal] = {}
        for plan in taking_part:
            for part in mapping().parts:
                given = mark(plan, number, part)
                if given is not None:
                    marks[sha256(work(plan, number, part))] = given
        await self.staff.close_window(window_id)
        await self.staff.mark(window_id, marks, self.progress, what, at_once=self.at_once)
        board = await self.staff.ratify(window_id, name) if marks else {}
        self.journal.note(f"{name}/ratified", {"ratified": board.get("ratified", 0)})

    async def _by_learner(
        self, what: str, items: Sequence[Turn], do: Callable[[Student, Plan], Awaitable[None]]
    ) -> None:
        """Call `do` for several learners at a time; for one with two modules in a term, one after the other."""
        turns: dict[int, list[Turn]] = {}
        for student, plan in items:
            turns.setdefault(student.number, []).append((student, plan))

        async def take(mine: list[Turn]) -> None:
            for student, plan in mine:
                await do(student, plan)

        await each(self.progress, what, turns.values(), take, at_once=self.at_once)


def step_of(plan: Plan, number: int = 1) -> str:
    """Return the name under which the journal has what was done in a round of a registration."""
    one = plan.registration
    return f"{one.presentation}/{one.module}/{one.learner}" + (f"/{number}" if number > 1 else "")


def presentations_of(registrations: Iterable[Registration]) -> dict[str, list[str]]:
    """Return the presentations of each module, in order."""
    found: dict[str, set[str]] = {}
    for one in registrations:
        found.setdefault(one.module, set()).add(one.presentation)
    return {module: sorted(presentations) for module, presentations in sorted(found.items())}
