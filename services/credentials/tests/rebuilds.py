"""What a rebuild finds."""

from credentials.commands import projection, rebuild
from credentials.domain.credit import Source
from credentials.tables.facts import Credit
from shared.ids import new_id

from .announcements import (
    BEFORE,
    DS,
    named,
)


async def found(service) -> list[tuple]:
    every = [one async for one in rebuild.differences(service.process.database)]
    return [(one.learner_id, one.kind, one.name, one.gained) for one in every]


async def recognise(session, learner, number: int) -> None:
    """Credit from elsewhere, as a registrar's decision leaves it."""
    session.add(
        Credit(
            credit_id=new_id(),
            learner_id=learner,
            course_code=f"RPL-{number}",
            course_title="Elsewhere",
            family=f"rpl:{learner}:{number}",
            subject_id=named("subject", DS),
            subject_name=DS,
            credits=15,
            level=7,
            source=Source.EXTERNAL,
            board_id=new_id(),
            regulations_version="mc-regs-2026.2",
            ratified_at=BEFORE,
        )
    )
    await projection.rebuild(session, learner)
