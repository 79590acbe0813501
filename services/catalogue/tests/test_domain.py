import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogue import domain
from catalogue.domain import PriceText, Readiness, check_ready, in_force, price_at
from shared.regulations import UnknownRegulations

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
RULES = in_force(NOW)
READY = Readiness(units=1, outcomes=1, has_price=True, has_subject=True, has_institution=True)
instants = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def price(amount: int, valid_from: datetime) -> PriceText:
    return PriceText(amount, "GBP", valid_from)


def test_the_price_is_the_latest_that_has_begun() -> None:
    prices = [
        price(49500, NOW - timedelta(days=1)),
        price(59500, NOW + timedelta(days=1)),
        price(1, NOW - timedelta(9)),
    ]
    assert price_at(prices, NOW) == prices[0]


def test_a_price_holds_from_its_very_instant() -> None:
    prices = [price(49500, NOW)]
    assert price_at(prices, NOW) == prices[0]
    assert price_at(prices, NOW - timedelta(microseconds=1)) is None


@given(st.sets(instants, max_size=8), instants)
def test_a_price_holds_until_the_next_begins(beginnings: set[datetime], at: datetime) -> None:
    prices = [price(100 + n, begin) for n, begin in enumerate(beginnings)]
    now = price_at(prices, at)
    assert (now is None) == all(begin > at for begin in beginnings)
    if now:
        assert now.valid_from <= at
        assert not any(now.valid_from < begin <= at for begin in beginnings)


def test_each_version_of_the_regulations_holds_from_its_day() -> None:
    assert in_force(datetime(2026, 8, 31, 23, 59, tzinfo=UTC)).version == "mc-regs-2026.1"
    assert in_force(datetime(2026, 9, 1, tzinfo=UTC)).version == "mc-regs-2026.2"


def test_before_the_first_regulations_none_hold() -> None:
    with pytest.raises(UnknownRegulations):
        in_force(datetime(2013, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "name", ["Law and Ethics", "Arts with Music", "Law AND Ethics", "Law\u00a0and\u2003Ethics", "with"]
)
def test_an_award_name_never_holds_a_word_that_joins_titles(name: str) -> None:
    with pytest.raises(domain.AmbiguousAwardName):
        domain.award_name(name, RULES)


@pytest.mark.parametrize("name", ["Law & Ethics", "Androids", "Withholding Tax", "Branding"])
def test_only_whole_words_join_titles(name: str) -> None:
    assert domain.award_name(name, RULES) == name


def test_an_award_name_is_tidied() -> None:
    assert domain.award_name("  Data   Science ", RULES) == "Data Science"


def test_the_regulations_keep_a_title_for_themselves() -> None:
    with pytest.raises(domain.ReservedAwardName):
        domain.award_name("interdisciplinary  studies", RULES)


@pytest.mark.parametrize(
    ("missing", "error"),
    [
        ({"has_subject": False}, domain.NoSubject),
        ({"has_institution": False}, domain.NoInstitution),
        ({"outcomes": 0}, domain.NoOutcomes),
        ({"units": 0}, domain.NoUnits),
        ({"has_price": False}, domain.NoPriceInForce),
    ],
)
def test_publication_needs_every_part(missing: dict[str, object], error: type[domain.DomainError]) -> None:
    with pytest.raises(error) as refused:
        check_ready(dataclasses.replace(READY, **missing), RULES)
    assert refused.value.extras == {"missing": [error.code]}


def test_a_refused_publication_names_all_that_is_missing() -> None:
    with pytest.raises(domain.NoSubject) as refused:
        check_ready(Readiness(0, 0, has_price=False, has_subject=False, has_institution=False), RULES)
    assert refused.value.extras["missing"] == [
        "no_subject",
        "no_institution",
        "no_outcomes",
        "no_units",
        "no_price_in_force",
    ]


def test_a_complete_draft_may_be_published() -> None:
    check_ready(READY, RULES)


@pytest.mark.parametrize("positions", [[1, 3], [0, 1], [1, 1], [2]])
def test_units_are_numbered_without_a_gap(positions: list[int]) -> None:
    with pytest.raises(domain.UnitsOutOfOrder):
        domain.check_contents(positions, [])


def test_units_may_come_in_any_order() -> None:
    domain.check_contents([2, 1, 3], ["LO1", "LO2"])


def test_outcomes_have_codes_of_their_own() -> None:
    with pytest.raises(domain.OutcomeCodesRepeated):
        domain.check_contents([1], ["LO1", "LO1"])


@pytest.mark.parametrize(("credits", "level"), [(30, 7), (15, 6)])
def test_courses_have_the_size_the_regulations_know(credits: int, level: int) -> None:
    with pytest.raises(domain.NotOfferedAtThatSize):
        domain.check_size(RULES, credits, level)


def test_we_sell_in_one_currency() -> None:
    with pytest.raises(domain.OtherCurrency):
        domain.check_price(RULES, "EUR")


def test_the_past_of_a_published_course_does_not_change_but_a_draft_has_none() -> None:
    before = NOW - timedelta(seconds=1)
    with pytest.raises(domain.PriceInThePast):
        domain.check_price_date(before, NOW, published=True)
    domain.check_price_date(NOW, NOW, published=True)
    domain.check_price_date(before, NOW, published=False)


def test_no_course_takes_an_address_of_the_api() -> None:
    with pytest.raises(domain.ReservedSlug):
        domain.check_course_slug("drafts")
