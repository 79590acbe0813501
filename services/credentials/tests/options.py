"""What a learner's credits may be claimed for, asked of the domain."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from credentials.domain import regulations as regs
from credentials.domain.credit import Credit, CreditStatus, Source
from credentials.domain.options import (
    Award,
)

DAY = datetime(2026, 1, 1, tzinfo=UTC)
EARLIER, IN_FORCE = "mc-regs-2026.1", "mc-regs-2026.2"
credit_lists = st.lists(
    st.tuples(
        st.sampled_from(["Data Science", "eHealth", "Law", "Zoology"]),
        st.one_of(st.none(), st.integers(50, 90)),
        st.booleans(),
        st.integers(0, 3),
    ),
    min_size=4,
    max_size=9,
)


def hold(subject: str, count: int, marks: tuple[int | None, ...] = (), **changes: Any) -> list[Credit]:
    found = []
    for n in range(count):
        mark = marks[n] if n < len(marks) else None
        fields: dict[str, Any] = {
            "id": f"{subject}-{n + 1:02}",
            "family": f"{subject}-{n + 1:02}",
            "subject": subject,
            "credits": 15,
            "level": 7,
            "mark": None if mark is None else Decimal(mark),
            "passed_at": DAY + timedelta(days=n),
        }
        found.append(Credit(**(fields | changes)))
    return found


def subject_of(credit: Credit) -> str:
    assert credit.subject is not None
    return credit.subject


def case_credits(case: dict) -> list[Credit]:
    if "earned" in case:
        return [credit for subject, count in case["earned"].items() for credit in hold(subject, count)]
    seen: Counter[str] = Counter()
    found = []
    for module in case["modules"]:
        seen[module["code"]] += 1
        found.append(
            Credit(
                id=f"{module['code']}/{seen[module['code']]}",
                family=module["code"],
                subject=module["subject"],
                credits=15,
                level=7,
                mark=Decimal(module["mark"]) if "mark" in module else None,
                passed_at=DAY,
                status=CreditStatus(module.get("status", "ratified")),
                source=Source.EXTERNAL if module.get("external") else Source.INTERNAL,
            )
        )
    return found


def case_awards(case: dict, held: list[Credit]) -> tuple[Award, ...]:
    """The awards of a case that were conferred before."""
    by_family = {credit.family: credit.id for credit in held}
    return tuple(
        Award(
            f"award-{n}",
            prior["level"],
            regs.find(IN_FORCE).level(prior["level"]).credits,
            prior["title"],
            frozenset(by_family[code] for code in prior["on"]),
        )
        for n, prior in enumerate(case.get("awarded", ()))
    )


def case_titles(case: dict, version: str) -> dict[str, list[dict]]:
    """Level -> what is offered there under that version."""
    return {
        level.code: [entry for entry in case["titles"].get(level.code, ()) if entry.get("under", version) == version]
        for level in regs.find(version).levels
    }


def build(rows: list[tuple]) -> list[Credit]:
    return [
        Credit(
            id=f"c{n}",
            family=f"c{n}",
            subject=subject,
            credits=15,
            level=7,
            mark=None if external or mark is None else Decimal(mark),
            passed_at=DAY + timedelta(days=day),
            source=Source.EXTERNAL if external else Source.INTERNAL,
        )
        for n, (subject, mark, external, day) in enumerate(rows)
    ]


@cache
def small(version: str) -> regs.Regulations:
    """The same rules with levels small enough to list every subset: 2, 4, 6 and 8 modules."""
    document = json.loads((Path(regs.__file__).parents[1] / "regulations" / f"{version}.json").read_text())
    document["levels"] = [
        {"code": str(count), "label": "Award", "credits": 15 * count, "achievement_type": "Award"}
        for count in (2, 4, 5, 6, 8)
    ]
    return regs.parse(document)
