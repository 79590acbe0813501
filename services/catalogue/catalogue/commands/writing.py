"""A unique constraint, not a look beforehand, decides who comes first."""

from collections.abc import Mapping

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from catalogue.tables import Base
from shared.errors import Refusal


async def write(session: AsyncSession, row: Base, refusals: Mapping[str, Refusal]) -> None:
    """Write the row; where a unique constraint stands against it, raise the refusal of that constraint's name."""
    try:
        async with session.begin_nested():
            session.add(row)
            await session.flush()
    except IntegrityError as error:
        name = getattr(error.orig.__cause__, "constraint_name", None) if error.orig else None
        if name is not None and name in refusals:
            raise refusals[name] from error
        raise
