from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assessment.domain import attempts, marks, regulations, windows
from assessment.domain.attempts import AttemptState, EnrolmentStatus
from assessment.domain.windows import Window
from shared import file_checks
from shared.ids import new_id
from shared.regulations import UnknownRegulations

RULES = regulations.find("mc-regs-2026.2")
LONDON = ZoneInfo("Europe/London")
OPENS, CLOSES = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 8, tzinfo=UTC)
INSTANTS = st.datetimes(datetime(2026, 1, 1), datetime(2036, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def window(opens_at=OPENS, closes_at=CLOSES, grace_seconds=0) -> Window:
    return Window(new_id(), opens_at, closes_at, grace_seconds)


# Regulations


def test_each_version_is_in_force_from_its_date():
    assert regulations.in_force(datetime(2026, 8, 31, 23, 59, 59, tzinfo=UTC)).version == "mc-regs-2026.1"
    assert regulations.in_force(datetime(2026, 9, 1, tzinfo=UTC)).version == "mc-regs-2026.2"


def test_before_the_first_version_nothing_is_in_force():
    with pytest.raises(UnknownRegulations):
        regulations.in_force(datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC))
    with pytest.raises(UnknownRegulations):
        regulations.find("mc-regs-1999.1")


# Windows


def test_the_regular_windows_are_the_first_seven_days_of_each_month_in_london():
    coming = windows.coming_windows(RULES.windows, datetime(2026, 10, 31, 23, 59, tzinfo=UTC))
    assert [(w.period, w.opens_at, w.closes_at) for w in coming] == [
        ("2026-11", datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 8, tzinfo=UTC)),
        ("2026-12", datetime(2026, 12, 1, tzinfo=UTC), datetime(2026, 12, 8, tzinfo=UTC)),
    ]


def test_in_summer_the_windows_are_an_hour_earlier_in_utc():
    april, *_ = windows.coming_windows(RULES.windows, datetime(2026, 4, 3, tzinfo=UTC))
    assert (april.opens_at, april.closes_at) == (
        datetime(2026, 3, 31, 23, tzinfo=UTC),
        datetime(2026, 4, 7, 23, tzinfo=UTC),
    )


def test_a_window_of_its_last_instant_is_still_coming_and_of_its_close_no_more():
    last = datetime(2026, 11, 7, 23, 59, 59, 999_999, tzinfo=UTC)
    assert windows.coming_windows(RULES.windows, last)[0].period == "2026-11"
    assert windows.coming_windows(RULES.windows, CLOSES)[0].period == "2026-12"


@given(INSTANTS)
def test_regular_windows_begin_and_end_at_midnight_in_london_and_never_overlap(now):
    coming = windows.coming_windows(RULES.windows, now)
    for one in coming:
        assert one.closes_at > now
        for at, day in ((one.opens_at, 1), (one.closes_at, 8)):
            local = at.astimezone(LONDON)
            assert (local.day, local.hour, local.minute, local.second) == (day, 0, 0, 0)
        assert one.period == f"{one.opens_at.astimezone(LONDON):%Y-%m}"
    assert all(a.closes_at < b.opens_at for a, b in pairwise(coming))


@given(st.datetimes(datetime(2026, 10, 30), datetime(2026, 11, 10), timezones=st.just(UTC)), st.integers(0, 600))  # noqa: DTZ001
def test_a_window_accepts_from_its_opening_to_before_its_close_and_grace(at, grace):
    assert windows.accepts(window(grace_seconds=grace), at) == (OPENS <= at < CLOSES + timedelta(seconds=grace))


def test_of_several_open_windows_the_one_closing_first_is_chosen():
    soon, later = window(closes_at=CLOSES - timedelta(days=1)), window()
    assert windows.choose([later, soon], OPENS) == soon


def test_a_window_in_its_grace_gives_way_to_one_that_is_open():
    closed, open_ = window(grace_seconds=60), window(closes_at=CLOSES + timedelta(days=9))
    assert windows.choose([closed, open_], CLOSES + timedelta(seconds=10)) == open_
    assert windows.choose([closed], CLOSES + timedelta(seconds=10)) == closed


@pytest.mark.parametrize(
    ("closes_at", "due"),
    [
        (datetime(2026, 11, 8, tzinfo=UTC), date(2026, 12, 4)),  # a Sunday
        (datetime(2026, 11, 6, 17, tzinfo=UTC), date(2026, 12, 4)),  # a Friday
        (datetime(2026, 7, 7, 23, tzinfo=UTC), date(2026, 8, 5)),  # in London it is the 8th, a Wednesday
    ],
)
def test_marks_are_due_twenty_working_days_after_the_close(closes_at, due):
    assert windows.due_on(closes_at, RULES.turnaround_working_days, RULES.marking_zone) == due


# Attempts


def attempt(no: int, state: AttemptState, *, passed=None, window_id=None) -> attempts.Attempt:
    return attempts.Attempt(new_id(), no, state, passed, window_id or new_id())


def admit(history, *, status=EnrolmentStatus.ACTIVE, open_windows=None, wanted=None, now=OPENS):
    open_windows = [window()] if open_windows is None else open_windows
    return attempts.admit(status, history, RULES.attempts_allowed, open_windows, now, wanted=wanted)


def test_the_first_attempt_is_free():
    assert admit([])
    assert attempts.next_attempt_no([]) == 1


@pytest.mark.parametrize("state", [AttemptState.RELEASED, AttemptState.RATIFIED])
def test_a_further_attempt_follows_a_released_fail(state):
    history = [attempt(1, state, passed=False)]
    assert admit(history)
    assert attempts.next_attempt_no(history) == 2
    assert attempts.attempts_left(history, 3) == 2


@pytest.mark.parametrize("state", [AttemptState.RELEASED, AttemptState.RATIFIED])
def test_a_passed_course_is_not_taken_again(state):
    history = [attempt(1, AttemptState.RATIFIED, passed=False), attempt(2, state, passed=True)]
    with pytest.raises(attempts.AlreadyPassed):
        admit(history)
    assert attempts.attempts_left(history, 3) == 0


def test_after_the_last_fail_there_is_no_further_attempt():
    history = [attempt(no, AttemptState.RATIFIED, passed=False) for no in (1, 2, 3)]
    with pytest.raises(attempts.NoAttemptsLeft):
        admit(history)
    assert attempts.attempts_left(history, 3) == 0


@pytest.mark.parametrize("state", [AttemptState.SUBMITTED, AttemptState.MARKED])
def test_while_a_result_is_pending_there_is_no_further_attempt(state):
    with pytest.raises(attempts.PendingResult):
        admit([attempt(1, state)])


def test_an_unmarked_mark_is_not_disclosed_by_the_refusal():
    with pytest.raises(attempts.PendingResult):
        admit([attempt(1, AttemptState.MARKED, passed=True)])


def test_while_its_window_is_open_the_work_may_be_replaced():
    its, other = window(), window(closes_at=CLOSES - timedelta(days=1))
    history = [attempt(1, AttemptState.SUBMITTED, window_id=its.window_id)]
    assert admit(history, open_windows=[its, other]) == its
    with pytest.raises(attempts.PendingResult):
        admit(history, open_windows=[its, other], wanted=other)
    with pytest.raises(windows.WindowIsClosed):
        admit(history, open_windows=[], wanted=its, now=CLOSES)


def test_a_voided_attempt_does_not_count():
    history = [attempt(1, AttemptState.VOIDED)]
    assert admit(history)
    assert attempts.next_attempt_no(history) == 1
    assert attempts.attempts_left(history, 3) == 3


def test_only_an_active_enrolment_hands_in():
    with pytest.raises(attempts.EnrolmentIsSuspended):
        admit([], status=EnrolmentStatus.SUSPENDED)
    with pytest.raises(attempts.EnrolmentEnded):
        admit([], status=EnrolmentStatus.CANCELLED)


def test_without_an_open_window_nothing_is_taken():
    with pytest.raises(windows.WindowIsClosed):
        admit([], open_windows=[])
    with pytest.raises(windows.WindowNotOpen):
        admit([], wanted=window(opens_at=OPENS + timedelta(seconds=1)))


# Marks


@given(st.decimals(0, 100, places=2), st.integers(1, 3))
def test_a_resit_is_recorded_with_the_cap_at_most_and_never_lowers_a_fail(raw, attempt_no):
    result = marks.grade(raw, attempt_no, RULES.marks)
    assert result.passed == (raw >= 50)
    assert result.mark == (raw if attempt_no == 1 else min(raw, Decimal(50)))
    assert result.capped == (result.mark < raw)


def test_nothing_is_rounded_into_a_pass():
    assert not marks.grade(Decimal("49.99"), 1, RULES.marks).passed


@pytest.mark.parametrize("raw", ["-0.01", "100.01", "50.001", "1E+30", "1E-30"])
def test_a_mark_outside_the_scale_is_refused(raw):
    with pytest.raises(marks.MarkOutOfRange):
        marks.grade(Decimal(raw), 1, RULES.marks)


# Files


@pytest.mark.parametrize(
    ("given_name", "shown"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd.pdf", "passwd.pdf"),
        ("C:\\work\\report.pdf", "report.pdf"),
        ("報告書.pdf", "報告書.pdf"),
        ("report\u202efdp.zip", "reportfdp.zip"),
        ("a\x00b\n.txt", "ab.txt"),
        ("..a.pdf", "..a.pdf"),
    ],
)
def test_a_files_name_has_no_folders_and_nothing_invisible(given_name, shown):
    assert file_checks.clean_name(given_name) == shown


@pytest.mark.parametrize("name", ["", "report", ".pdf", "..", "report.", "a/", "  .pdf", "x" * 300 + ".pdf"])
def test_a_file_needs_a_name_with_an_ending(name):
    with pytest.raises(file_checks.BadFileName):
        file_checks.clean_name(name)


def test_only_the_kinds_the_regulations_name_are_taken():
    assert file_checks.kind_of("a.PDF", RULES.file_kinds).name == "pdf"
    with pytest.raises(file_checks.FileTypeNotAllowed):
        file_checks.kind_of("a.exe", RULES.file_kinds)


SAMPLES = {
    "pdf": b"%PDF-1.7\n...",
    "docx": b"PK\x03\x04....",
    "zip": b"PK\x03\x04....",
    "txt": "Grüße, 世界\n".encode(),
    "md": b"# Title\n",
}


def check(kind: str, *chunks: bytes, longest: int = 1000) -> file_checks.Checked:
    checking = file_checks.FileCheck(file_checks.kind_of(f"a.{kind}", RULES.file_kinds), longest)
    for chunk in chunks:
        checking.take(chunk)
    return checking.finish()


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_file_is_what_its_name_says_however_it_is_cut(kind):
    content = SAMPLES[kind]
    whole = check(kind, content)
    assert check(kind, *(content[i : i + 1] for i in range(len(content)))) == whole
    assert whole.size == len(content)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("pdf", b"MZ\x90\x00"),
        ("pdf", b"%PD"),
        ("pdf", b"\n%PDF-1.7"),
        ("zip", b"%PDF-1.7"),
        ("docx", b"hello"),
        ("txt", b"a\x00b"),
        ("txt", b"\xff\xfe"),
        ("md", b"half a sign \xc3"),
    ],
)
def test_content_that_is_not_what_its_name_says_is_refused(kind, content):
    with pytest.raises(file_checks.FileNotAsNamed):
        check(kind, content)


def test_a_file_stops_at_its_longest():
    assert check("txt", b"x" * 1000)
    with pytest.raises(file_checks.FileTooLarge):
        check("txt", b"x" * 1000, b"y")


def test_an_empty_file_is_refused():
    with pytest.raises(file_checks.FileEmpty):
        check("pdf")


def test_what_is_announced_too_large_is_refused_before_its_first_byte():
    with pytest.raises(file_checks.FileTooLarge):
        file_checks.plan_check("a.pdf", RULES.longest_file_bytes + 1, RULES.file_kinds, RULES.longest_file_bytes)
