"""What is read from the data set, and what a registration becomes: pure."""

from collections import Counter
from decimal import Decimal

import pytest

from embedded.replay import mapping, oulad
from embedded.replay.mapping import Ending, mark, plans, work
from embedded.replay.oulad import DataSetError, Registration, Result, first_learners, read

from .registrations import write

ASSESSMENTS = """code_module,code_presentation,id_assessment,assessment_type,date,weight
AAA,2013J,1,TMA,19,25
AAA,2013J,2,TMA,54,75
GGG,2013J,3,CMA,54,0
GGG,2013J,4,CMA,54,0
"""
SCORES = """id_assessment,id_student,date_submitted,is_banked,score
1,11,18,0,40
2,11,50,0,80
3,11,50,0,60
4,11,50,0,70
1,22,18,0,?
"""
INFO = """code_module,code_presentation,id_student,num_of_prev_attempts,final_result
GGG,2013J,11,0,Distinction
AAA,2013J,11,1,Pass
AAA,2013J,22,0,Withdrawn
AAA,2013J,33,0,Fail
"""
REGISTRATIONS = """code_module,code_presentation,id_student,date_registration,date_unregistration
AAA,2013J,11,-20,?
AAA,2013J,22,-10,30
"""


@pytest.fixture
def folder(tmp_path):
    files = {
        "assessments": ASSESSMENTS,
        "studentAssessment": SCORES,
        "studentInfo": INFO,
        "studentRegistration": REGISTRATIONS,
    }
    for name, text in files.items():
        (tmp_path / f"{name}.csv").write_text(text)
    return tmp_path


def registration(**changes):
    fields = {
        "module": "AAA",
        "presentation": "2013J",
        "learner": 11,
        "result": Result.PASS,
        "previous_attempts": 0,
        "registered_on": -20,
        "unregistered_on": None,
        "score": Decimal(60),
        "worked": True,
    }
    return Registration(**(fields | changes))


def only(**changes):
    [plan] = plans([registration(**changes)])
    return plan


def test_registrations_come_by_presentation_module_and_learner(folder):
    assert [(one.module, one.learner, one.result) for one in read(folder)] == [
        ("AAA", 11, Result.PASS),
        ("AAA", 22, Result.WITHDRAWN),
        ("AAA", 33, Result.FAIL),
        ("GGG", 11, Result.DISTINCTION),
    ]


def test_a_score_is_weighted_and_plain_where_nothing_has_weight(folder):
    scores = {(one.module, one.learner): one.score for one in read(folder)}
    assert scores == {("AAA", 11): Decimal(70), ("AAA", 22): None, ("AAA", 33): None, ("GGG", 11): Decimal(65)}


def test_work_without_a_score_is_still_work(folder):
    assert {one.learner: one.worked for one in read(folder) if one.module == "AAA"} == {11: True, 22: True, 33: False}


def test_days_are_known_or_not(folder):
    days = {one.learner: (one.registered_on, one.unregistered_on) for one in read(folder) if one.module == "AAA"}
    assert days == {11: (-20, None), 22: (-10, 30), 33: (None, None)}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("studentInfo", None, "there is no"),
        ("studentInfo", "id_student\n1\n", "no column"),
        ("studentInfo", INFO.replace("Pass", "Perhaps"), "'Perhaps' is no final result"),
        ("studentInfo", INFO.replace("11,1,", "11,one,"), "'one' is no number"),
        ("studentRegistration", REGISTRATIONS.replace("-20", "soon"), "'soon' is no number"),
        ("studentAssessment", SCORES.replace("1,22", "9,22"), "assessment 9, which is unknown"),
    ],
)
def test_what_is_not_the_data_set_is_refused_by_name(folder, name, text, message):
    path = folder / f"{name}.csv"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(DataSetError, match=message):
        read(folder)


def test_the_first_learners_are_the_same_every_time_and_among_any_more():
    everybody = [registration(learner=learner) for learner in range(1000)]
    few, more = first_learners(everybody, 50), first_learners(reversed(everybody), 100)
    assert list(few) == list(more)[:50]
    assert list(few) != sorted(few)


def test_a_result_takes_one_round():
    plan = only()
    assert (plan.ending, plan.rounds, plan.hands_in(1), plan.leaves(1)) == (Ending.RESULT, 1, True, False)


def test_previous_attempts_fail_before_the_result():
    plan = only(previous_attempts=4, result=Result.DISTINCTION)
    assert plan.rounds == 5
    assert [plan.outcome(number) for number in range(1, 6)] == [Result.FAIL] * 4 + [Result.DISTINCTION]


def test_an_attempt_that_the_data_holds_itself_is_not_made_twice():
    first, second = plans(
        [
            registration(presentation="2014B", previous_attempts=2),
            registration(presentation="2013J", previous_attempts=0, result=Result.FAIL),
        ]
    )
    assert (first.registration.presentation, first.rounds) == ("2013J", 1)
    assert second.failed_before == 1


@pytest.mark.parametrize(
    ("days", "worked", "ending"),
    [
        ((-20, -6), False, Ending.COOLED_OFF),
        ((-20, -5), False, Ending.LEFT),
        ((-20, 5), True, Ending.LEFT_AFTER_WORK),
        ((-20, 5), False, Ending.LEFT),
        ((-20, 0), True, Ending.LEFT),
        ((None, 5), True, Ending.LEFT_AFTER_WORK),
        ((-20, None), True, Ending.LEFT_AFTER_WORK),
        ((-20, -30), False, Ending.LEFT),
    ],
)
def test_how_a_withdrawal_goes(days, worked, ending):
    plan = only(result=Result.WITHDRAWN, registered_on=days[0], unregistered_on=days[1], worked=worked)
    assert plan.ending is ending
    assert mark(plan, plan.rounds or 1, "A") is None


def test_a_withdrawal_comes_after_the_attempts_before():
    plan = only(result=Result.WITHDRAWN, previous_attempts=2, unregistered_on=100, worked=False)
    assert [plan.hands_in(number) for number in (1, 2, 3)] == [True, True, False]
    assert [plan.leaves(number) for number in (1, 2, 3)] == [False, False, True]


def test_who_cools_off_makes_no_attempt():
    plan = only(result=Result.WITHDRAWN, previous_attempts=2, registered_on=0, unregistered_on=3)
    assert (plan.rounds, plan.failed_before) == (0, 0)


def test_what_was_passed_cannot_be_bought_again():
    again = plans([registration(), registration(presentation="2014J", result=Result.WITHDRAWN)])[1]
    assert (again.ending, again.rounds) == (Ending.REFUSED, 0)


def test_who_registers_after_the_beginning_orders_in_two_tabs():
    assert [only(registered_on=day).in_two_tabs for day in (None, -1, 0, 1)] == [False, False, False, True]


@pytest.mark.parametrize("result", [Result.PASS, Result.DISTINCTION, Result.FAIL])
@pytest.mark.parametrize("score", [None, 0, 50, 100])
def test_a_mark_lies_in_the_band_of_its_result(result, score):
    low, high = mapping.mapping().band(result)
    for learner in range(200):
        plan = only(result=result, learner=learner, score=None if score is None else Decimal(score))
        for part in "AB":
            given = mark(plan, 1, part)
            assert given is not None
            assert low <= given <= high


def test_a_better_score_gives_a_better_mark():
    marks = [mark(only(score=Decimal(score)), 1, "A") for score in (10, 40, 70, 90)]
    assert marks == sorted(one for one in marks if one is not None)
    assert len(set(marks)) == 4


def test_work_and_marks_are_the_same_every_time_and_differ_between_learners_parts_and_attempts():
    plan, other = only(previous_attempts=1), only(learner=12, previous_attempts=1)
    pieces = {work(one, number, part) for one in (plan, other) for number in (1, 2) for part in "AB"}
    assert len(pieces) == 8
    assert work(plan, 1, "A") == work(only(previous_attempts=1), 1, "A")
    assert mark(plan, 1, "A") == mark(only(previous_attempts=1), 1, "A")


def test_names_fill_every_string_of_a_template():
    template = {"code": "OS-{MODULE}", "units": [{"text": "{presentation}"}], "credits": 15}
    assert mapping.filled(template, MODULE="AAA", presentation="2013J") == {
        "code": "OS-AAA",
        "units": [{"text": "2013J"}],
        "credits": 15,
    }


def test_results_are_spelled_as_in_the_data_set():
    assert {one.value for one in oulad.Result} == {"Pass", "Distinction", "Fail", "Withdrawn"}


def test_what_stands_in_for_the_data_set_is_of_its_shape(tmp_path):
    """Every kind of registration is in it, and the same seed gives the same bytes."""
    folder, again = write(tmp_path / "once", learners=400), write(tmp_path / "again", learners=400)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        file.name: file.read_bytes() for file in again.iterdir()
    }
    found = read(folder)
    assert {one.result for one in found} == set(Result)
    assert {one.previous_attempts for one in found} >= {0, 1, 2, 3}
    assert any(one.registered_on > 0 for one in found)
    withdrawn = [one for one in found if one.result is Result.WITHDRAWN]
    assert any(one.unregistered_on - (one.registered_on or 0) < 14 for one in withdrawn if one.unregistered_on)
    assert {one.worked for one in withdrawn} == {True, False}
    assert max(Counter((one.learner, one.module) for one in found).values()) > 1
