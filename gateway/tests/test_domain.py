import secrets
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.app import common_passwords
from gateway.domain import accounts, grants, keys, partners, sessions
from gateway.domain.keys import Key, KeyState
from gateway.domain.sessions import InvalidRefreshToken, Presented, Refresh, judge

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
GRACE = timedelta(seconds=10)
LATER = NOW + timedelta(days=30)


def test_an_address_is_one_whatever_its_case_or_composition():
    assert accounts.email_key(" Ada@Example.ORG ") == accounts.email_key("ada@example.org")
    assert accounts.email_key("Zoe\u0308@example.org") == accounts.email_key("zo\u00eb@example.org")


@pytest.mark.parametrize(
    "email", ["", "ada", "ada@", "@example.org", "a@b", "a b@example.org", "a@exa\nmple.org", "a" * 250 + "@b.org"]
)
def test_what_is_no_address_is_refused(email):
    with pytest.raises(accounts.EmailMalformed):
        accounts.email_key(email)


@pytest.mark.parametrize(
    ("password", "error"),
    [
        ("short", accounts.PasswordTooShort),
        ("elevenchars", accounts.PasswordTooShort),
        ("x" * 257, accounts.PasswordTooLong),
        ("Password1234", accounts.PasswordTooCommon),
        ("administrator!", accounts.PasswordTooCommon),
        ("abababababab", accounts.PasswordTooCommon),
        ("ada.lovelace1", accounts.PasswordTooCommon),
    ],
)
def test_a_password_that_would_be_tried_first_is_refused(password, error):
    with pytest.raises(error):
        accounts.check_password(password, "ada.lovelace@example.org", common_passwords())


@pytest.mark.parametrize("password", ["nine brass engines humming", "x7!kQm2#pLw9", "пятнадцать синих"])
def test_any_other_password_is_taken(password):
    accounts.check_password(password, "ada.lovelace@example.org", common_passwords())


def test_only_roles_of_this_platform_can_be_granted():
    assert accounts.check_roles(["marker", "marker", "learner"]) == {"learner", "marker"}
    with pytest.raises(accounts.UnknownRole):
        accounts.check_roles(["emperor"])


def test_a_refresh_token_is_used_once():
    assert judge(Presented(None, LATER, None), NOW, GRACE) is Refresh.ROTATE


def test_a_lost_reply_can_be_asked_for_again_within_the_grace():
    assert judge(Presented(NOW - timedelta(seconds=9.9), LATER, None), NOW, GRACE) is Refresh.REPEAT


def test_a_token_used_after_the_grace_was_stolen():
    assert judge(Presented(NOW - GRACE, LATER, None), NOW, GRACE) is Refresh.REUSED


@pytest.mark.parametrize(
    "presented",
    [
        Presented(None, NOW, None),
        Presented(None, LATER, NOW - timedelta(1)),
        Presented(NOW, LATER, NOW),
    ],
)
def test_nothing_revives_a_session_that_has_ended(presented):
    with pytest.raises(InvalidRefreshToken):
        judge(presented, NOW, GRACE)


def test_a_successor_follows_from_its_token_and_the_secret_alone():
    token = sessions.first_token()
    assert sessions.successor(token, b"secret") == sessions.successor(token, b"secret")
    assert sessions.successor(token, b"secret") != sessions.successor(token, b"another")
    assert sessions.successor(token, b"secret") != token


def test_what_is_stored_as_a_plain_digest_was_drawn_from_256_bits(monkeypatch):
    drawn = []
    monkeypatch.setattr(secrets, "token_urlsafe", lambda size: drawn.append(size) or "x")
    assert (sessions.first_token(), partners.new_secret()) == ("x", "mcs_x")
    assert drawn == [32, 32]


def test_a_retired_key_is_published_until_its_last_token_has_expired():
    longest = timedelta(minutes=10)
    retired = Key("k", KeyState.RETIRED, retired_at=NOW)
    assert keys.published(retired, NOW + timedelta(minutes=9), longest)
    assert not keys.published(retired, NOW + timedelta(minutes=10), longest)
    assert keys.published(Key("k", KeyState.NEXT), NOW, longest)
    assert keys.published(Key("k", KeyState.ACTIVE), NOW, longest)


def test_a_withdrawn_key_is_not_published_at_all():
    assert not keys.published(Key("k", KeyState.RETIRED, NOW, withdrawn_at=NOW), NOW, timedelta(minutes=10))


def test_a_partner_gets_no_scope_beyond_its_own():
    assert partners.check_scopes(["transcripts:read"], ["transcripts:read", "transfers:decide"]) == (
        "transcripts:read",
    )
    with pytest.raises(partners.UnknownScope):
        partners.check_scopes(["transfers:decide"], ["transcripts:read"])


PROPOSER, CONFIRMER = st.integers(0, 30), st.integers(0, 30)


@given(st.integers(1, 4), st.integers(0, 3), st.lists(st.tuples(PROPOSER, CONFIRMER), max_size=30))
def test_one_person_never_says_both_words_however_many_operators_others_let_them_make(roots, person, tries):
    """Everybody confirms whatever the rule lets them; each new operator that the person had a hand in is theirs."""
    operators, words = [UUID(int=n) for n in range(roots)], {}
    theirs = {operators[person % roots]}
    for one, other in tries:
        proposer, confirmer = operators[one % len(operators)], operators[other % len(operators)]
        made = UUID(int=len(operators))
        if grants.may_confirm(confirmer, proposer, made, words):
            assert not {proposer, confirmer} <= theirs
            operators.append(made)
            words[made] = {proposer, confirmer}
            if {proposer, confirmer} & theirs:
                theirs.add(made)
    assert len(operators) == 1 or roots > 1


def test_two_operators_of_the_command_line_are_enough_to_give_roles():
    anna, bert, new = (UUID(int=n) for n in range(3))
    assert grants.can_grant({anna, bert}, {})
    assert not grants.can_grant({anna}, {})
    assert grants.may_confirm(bert, anna, new, {})
    assert not grants.may_confirm(anna, anna, new, {})
    assert not grants.may_confirm(bert, anna, bert, {})
    assert not grants.can_grant({anna, new}, {new: {anna, bert}})


@pytest.mark.parametrize(
    ("outcome", "days", "state"),
    [(None, 0, "waiting"), (None, 6.9, "waiting"), (None, 7, "expired"), ("confirmed", 8, "confirmed")],
)
def test_a_proposal_waits_for_a_week(outcome, days, state):
    assert grants.state_of(outcome, NOW, NOW + timedelta(days=days)) == state
