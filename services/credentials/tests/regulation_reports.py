"""Reports on what other regulations would change."""

import json
from pathlib import Path

from credentials import jobs as clockwork
from credentials.domain import regulations as regs

from .announcements import work_of

IN_FORCE = json.loads((Path(regs.__file__).parents[1] / "regulations" / "mc-regs-2026.2.json").read_text())
EARLIER = json.loads((Path(regs.__file__).parents[1] / "regulations" / "mc-regs-2026.1.json").read_text())
URL = "/v1/regulation-reports"


def candidate(**changes: object) -> dict:
    """The rules of 2026.1 again, from next year on."""
    return EARLIER | {"version": "mc-regs-2027.1", "effective_from": "2027-09-01T00:00:00+01:00"} | changes


async def report_on(service, office, document: dict) -> dict:
    answer = await office.post(URL, json={"document": document})
    assert answer.status_code == 202, answer.text
    await clockwork.report_on_regulations(work_of(service))
    return (await office.get(f"{URL}/{answer.json()['report_id']}")).json()
