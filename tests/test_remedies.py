"""What people are advised to do about a refusal fits that refusal, not its status alone."""

import re
from json import loads

import pytest

from embedded.services import merged_openapi
from gateway.documents.front_page import front_document, front_page
from gateway.documents.openapi import rules_of
from gateway.documents.problem_pages import REMEDIES, index_page, problem_page

CONTACT = "help@example.org"
ABOUT_ROLES = {"not_permitted", "stage_not_permitted"}
"""What a role or a scope would mend."""


OF_THE_RULE = {401, 403, 404, 409, 410, 422}
"""What is to be done depends on the rule; of other statuses it is the same for all."""
SAID_BY_STATUS = ABOUT_ROLES | {"invalid_token", "not_found", "no_such_operation", "invalid_request"}
"""For which the words of the status were written."""


@pytest.fixture(scope="module")
def document():
    return merged_openapi()


@pytest.fixture(scope="module")
def rules(document):
    return rules_of(document)


def test_every_refusal_says_what_to_do_about_it(rules):
    every = [(code, rule) for code, of_code in rules.items() for rule in of_code]
    assert {rule.status for _, rule in every} - OF_THE_RULE <= REMEDIES.keys()
    lacking = {code for code, rule in every if rule.status in OF_THE_RULE and not rule.remedy}
    assert lacking == SAID_BY_STATUS
    unlike = {code for code, rule in every if rule.remedy and not re.fullmatch(r"[A-Z].{10,110}\.", rule.remedy)}
    assert unlike == set()


def test_what_a_remedy_sends_people_to_is_there(document, rules):
    there = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    named = {
        (code, operation)
        for code, of_code in rules.items()
        for rule in of_code
        for operation in re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) [^`]+)`", rule.remedy)
    }
    assert named
    assert {(code, operation) for code, operation in named if operation not in there} == set()


def test_only_who_lacks_a_role_is_advised_to_ask_for_one(rules):
    forbidden = {code for code, of_code in rules.items() for rule in of_code if rule.status == 403}
    assert {"own_work", "wrong_pin", "share_expired", "enrolment_suspended"} | ABOUT_ROLES <= forbidden
    ask_for_a_role = {code for code in forbidden if "for the role or scope" in problem_page(code, rules[code], CONTACT)}
    assert ask_for_a_role == ABOUT_ROLES


def test_who_typed_a_wrong_password_is_not_sent_for_a_fresh_token(rules):
    for code in ("wrong_credentials", "account_closed", "invalid_client", "invalid_id_token"):
        assert "send the fresh access token" not in problem_page(code, rules[code], CONTACT), code
    assert "send the fresh access token" in problem_page("invalid_token", rules["invalid_token"], CONTACT)


def test_who_is_not_registered_is_shown_where_to_register(rules):
    assert "<code>POST /v1/learners</code>" in problem_page("not_registered", rules["not_registered"], CONTACT)
    assert "<code>POST /v1/learners</code>" in index_page({"not_registered": rules["not_registered"]}, CONTACT)


def test_whom_a_refusal_or_a_page_sends_people_to_is_named(rules):
    people = re.compile("finance|registrar|whoever runs|appeal", re.IGNORECASE)
    named = [code for code, of_code in rules.items() for rule in of_code if people.search(rule.remedy)]
    assert {"on_hold", "cooling_off_ended", "review_decided", "email_taken"} <= {*named}
    for code in named:
        assert f'href="mailto:{CONTACT}"' in problem_page(code, rules[code], CONTACT), code
    assert f'href="mailto:{CONTACT}"' in index_page(rules, CONTACT)
    assert f'href="mailto:{CONTACT}"' in front_page(CONTACT, {}, from_payment=False)
    assert loads(front_document("1", CONTACT, {}))["contact"] == CONTACT
