"""Course content as an editor sends it, and the editor."""

from typing import Any

import httpx

from shared.ids import new_id


def course(slug: str = "causal-inference", **changes: Any) -> dict[str, Any]:
    """A course that can be published, with what the test changes about it."""
    content = {
        "slug": slug,
        "code": f"C-{slug}"[:40].upper(),
        "title": "Causal Inference",
        "subject": "data-science",
        "institution": "northbridge",
        "summary": "Move from what goes with what to what would happen if.",
        "description": "Decisions need answers about causes.",
        "credits": 15,
        "level": 7,
        "weeks": 10,
        "hours_per_week": {"min": 12, "max": 15},
        "module_family": slug.upper(),
        "outcomes": [{"code": "LO1", "text": "Define effects with potential outcomes."}],
        "skills": [{"name": "evaluation", "framework": "ESCO", "url": "https://skills.example/evaluation"}],
        "prerequisites": "Regression.",
        "badge": {"criteria": "Answered a question about causes."},
        "price": {"amount_minor": 49500, "currency": "GBP", "valid_from": "2026-01-01T00:00:00Z"},
        "units": [
            {
                "position": 1,
                "title": "Potential outcomes",
                "minutes": 180,
                "objectives": ["Define effects"],
                "text": "For a unit and a treatment there are two outcomes.",
            }
        ],
    }
    return content | changes


SUBJECTS = {"data-science": "Data Science", "management": "Management", "law": "Law"}
INSTITUTIONS = {"northbridge": "Northbridge University", "eastmere": "Eastmere Institute"}


async def open_references(editor: httpx.AsyncClient) -> None:
    for slug, name in SUBJECTS.items():
        subject = {"slug": slug, "name": name, "award_name": name, "description": f"About {name}."}
        (await editor.post("/v1/subjects", json=subject)).raise_for_status()
    for slug, name in INSTITUTIONS.items():
        institution = {"slug": slug, "name": name, "homepage": f"https://{slug}.example", "country": "GB"}
        (await editor.post("/v1/institutions", json=institution)).raise_for_status()


async def draft(editor: httpx.AsyncClient, slug: str = "causal-inference", **changes: Any) -> dict[str, Any]:
    answer = await editor.post("/v1/courses", json=course(slug, **changes))
    assert answer.status_code == 201, answer.text
    return answer.json()


async def publish(editor: httpx.AsyncClient, slug: str = "causal-inference", **changes: Any) -> dict[str, Any]:
    written = await draft(editor, slug, **changes)
    answer = await editor.post(f"/v1/courses/{written['course_id']}/publication")
    assert answer.status_code == 200, answer.text
    return answer.json()


def key() -> dict[str, str]:
    return {"Idempotency-Key": str(new_id())}
