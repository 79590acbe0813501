"""What replaces a function takes its calls."""

import pytest

from shared.testing.replacing import CalledOtherwise, check_called_alike


def real(session, at, more=1, *, beside=None):
    return session, at, more, beside


async def awaited():
    pass


@pytest.mark.parametrize(
    "instead",
    [
        real,
        lambda *_, **__: None,
        lambda session, at, more=2, *, beside=1, besides=2: (session, at, more, beside, besides),
        lambda session, at, *rest, beside="": (session, at, rest, beside),
    ],
)
def test_it_may_have_other_names_and_take_more(instead):
    check_called_alike(real, instead)


@pytest.mark.parametrize(
    "instead",
    [
        lambda session, at, more=1: (session, at, more),
        lambda session, at, *, beside=None: (session, at, beside),
        lambda session, at, more, *, beside=None: (session, at, more, beside),
        lambda session, at, more=1, *, beside: (session, at, more, beside),
        lambda session, at, more=1, *, beside=None, besides: (session, at, more, beside, besides),
        lambda *_: None,
    ],
)
def test_it_takes_no_less_and_asks_for_no_more(instead):
    with pytest.raises(CalledOtherwise, match=r"real\(session, at"):
        check_called_alike(real, instead)


def test_it_is_awaited_if_that_is():
    with pytest.raises(CalledOtherwise, match="awaited"):
        check_called_alike(awaited, lambda: None)


def test_what_is_no_function_is_replaced_by_anything():
    check_called_alike(1, real)
    check_called_alike(real, 1)
