"""docs/rules.md states the numbers that the regulations in force hold as data."""

import json
from functools import reduce
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RULES = " ".join((ROOT / "docs/rules.md").read_text().split())
IN_FORCE = "mc-regs-2026.2"

STATED = [
    ("payments", "basket courses_at_most", "A basket holds up to {} courses"),
    ("payments", "quote_minutes", "their prices for **{} minutes**"),
    ("payments", "underpaid refund_after_days", "else the money goes back after {} days"),
    ("payments", "repayment days", "For {} days the order can be paid again"),
    ("payments", "cooling_off days", "It ends with day {},"),
    ("payments", "asking days_after_expiry", "until {} days after the order's end"),
    ("payments", "keep rejections_days", "refused notifications {} days"),
    ("payments", "keep notification_bodies_days", "bodies of the others {};"),
    ("enrolment", "activation wait_hours", "is waited for, {} hours long"),
    ("enrolment", "repayment days", "For {} days the order can be paid again"),
    ("assessment", "marks pass", "The pass mark is {},"),
    ("assessment", "marks resit_cap", "A pass on a resit is recorded as {}"),
    ("assessment", "windows grace_seconds", "Grace is a number in the data, and it is {} s"),
    ("assessment", "marking turnaround_working_days", "Marking is due {} working days"),
    ("credentials", "module_credits", "in modules of {} at level"),
    ("credentials", "framework_level", "in modules of 15 at level {}."),
    ("credentials", "levels 0 credits", "PGCert of {} credits"),
    ("credentials", "levels 1 credits", "PGDip of {},"),
    ("credentials", "levels 2 credits", "Master's degree of {},"),
    ("credentials", "claim_minutes", "A claim reserves its credit for {} minutes"),
    ("credentials", "classification bands 0 at_least", "{} Distinction"),
    ("credentials", "classification bands 1 at_least", "{} Merit"),
    ("credentials", "transfers decide_within_days", "the partner decides within {} days"),
]


def _in_data(service: str, path: str) -> object:
    document = json.loads((ROOT / f"services/{service}/{service}/regulations/{IN_FORCE}.json").read_text())
    return reduce(lambda found, key: found[int(key) if key.isdigit() else key], path.split(), document)


@pytest.mark.parametrize(("service", "path", "words"), STATED)
def test_a_number_on_paper_is_the_one_in_the_data(service, path, words):
    assert words.format(_in_data(service, path)) in RULES


def test_the_two_versions_differ_in_titles_alone():
    """As the paper says."""
    folders = sorted(path.parent for path in ROOT.glob(f"services/*/*/regulations/{IN_FORCE}.json"))
    assert len(folders) >= len({service for service, _, _ in STATED})
    for folder in folders:
        versions = []
        for version in ("mc-regs-2026.1", IN_FORCE):
            document = json.loads((folder / f"{version}.json").read_text())
            apart = {"version", "effective_from", "approved_by", "title_rules"}
            versions.append({key: value for key, value in document.items() if key not in apart})
        assert versions[0] == versions[1], folder
