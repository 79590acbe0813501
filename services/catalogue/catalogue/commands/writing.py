"""Writes of rows with unique constraints: the constraint, not a query beforehand, decides which of two comes first."""

from collections.abc import Mapping

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from catalogue.tables import Base
from shared.errors import DomainError


async def write(session: AsyncSession, row: Base, errors: Mapping[str, DomainError]) -> None:
    """Write a row; where it violates a unique constraint, raise the error that `errors` gives for its name."""
    try:
        async with session.begin_nested():
            session.add(row)
            await session.flush()
    except IntegrityError as error:
        name = getattr(error.orig.__cause__, "constraint_name", None) if error.orig else None
        if name is not None and name in errors:
            raise errors[name] from error
        raise
