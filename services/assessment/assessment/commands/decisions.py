from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from assessment.tables import Decision
from shared.database import now
from shared.ids import new_id


def record(
    session: AsyncSession,
    kind: str,
    subject_id: UUID,
    actor: str,
    *,
    reason_code: str | None = None,
    **details: Any,  # Any: JSON
) -> None:
    """Write down who decided what, with the decision itself."""
    session.add(
        Decision(
            decision_id=new_id(),
            kind=kind,
            subject_id=subject_id,
            actor=actor,
            reason_code=reason_code,
            decided_at=now(session),
            details=details,
        )
    )
