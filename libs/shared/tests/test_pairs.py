"""What is said of two commands that leave what neither order would."""

from collections import Counter, defaultdict

from shared.testing.pairs import _wrong

ANSWERED = (201, ""), (409, "already_paid")


def ended(**tables):
    return (*ANSWERED, defaultdict(Counter, {name: Counter(rows) for name, rows in tables.items()}))


def test_nothing_is_said_of_what_some_order_leaves():
    assert _wrong(ended(orders=["a"]), [ended(), ended(orders=["a"])]) == []


def test_a_row_is_named_with_its_table_whichever_side_has_it():
    met = ended(orders=["paid"], lines=["x", "x", "same"])
    [said] = _wrong(met, [ended(lines=["x", "same"], refunds=["sent", "sent"])])
    assert (
        said
        == "not as after any order: lines has besides 1 of x, orders has besides 1 of paid, refunds lacks 2 of sent"
    )
    [said] = _wrong(ended(), [ended(orders=["a"]), ended(orders=["b"])])
    assert said == "not as after any order: orders lacks 1 of a; or orders lacks 1 of b"


def test_what_is_said_of_one_pair_changes_nothing_for_the_next():
    in_turn = [ended()]
    assert _wrong(ended(orders=["a"]), in_turn)
    assert _wrong(ended(), in_turn) == []


def test_other_answers_are_named():
    [said] = _wrong(((200, ""), *ended()[1:]), [ended()])
    assert said.startswith("they answer [(200, ''), (409, 'already_paid')], and in turn")
