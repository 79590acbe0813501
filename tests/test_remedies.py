"""What people are told to do about a refusal fits that refusal, not its status alone."""

import pytest

from embedded.services import merged_openapi
from gateway.openapi import rules_of
from gateway.problem_pages import index_page, problem_page

ABOUT_ROLES = {"not_permitted", "stage_not_permitted"}
"""What a role or a scope would mend."""


@pytest.fixture(scope="module")
def rules():
    return rules_of(merged_openapi())


def test_only_who_lacks_a_role_is_told_to_ask_for_one(rules):
    forbidden = {code for code, told in rules.items() for rule in told if rule.status == 403}
    assert {"own_work", "wrong_pin", "share_expired", "enrolment_suspended"} | ABOUT_ROLES <= forbidden
    ask_for_a_role = {code for code in forbidden if "for the role or scope" in problem_page(code, rules[code])}
    assert ask_for_a_role == ABOUT_ROLES


def test_who_typed_a_wrong_password_is_not_sent_for_a_fresh_token(rules):
    for code in ("wrong_credentials", "account_closed", "invalid_client", "invalid_id_token"):
        assert "send the fresh access token" not in problem_page(code, rules[code]), code
    assert "send the fresh access token" in problem_page("invalid_token", rules["invalid_token"])


def test_who_is_not_registered_is_told_where_to_register(rules):
    assert "<code>POST /v1/learners</code>" in problem_page("not_registered", rules["not_registered"])
    assert "<code>POST /v1/learners</code>" in index_page({"not_registered": rules["not_registered"]})
