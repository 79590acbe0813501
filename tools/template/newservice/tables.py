"""The tables; what is mapped here is what the migrations make."""

from typing import ClassVar
from uuid import UUID

from sqlalchemy import MetaData, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import TableBase, new_metadata


class Base(TableBase):
    __abstract__ = True
    metadata: ClassVar[MetaData] = new_metadata()


class Entry(Base):
    __tablename__ = "entries"
    __table_args__ = (UniqueConstraint("title_key"),)

    entry_id: Mapped[UUID] = mapped_column(primary_key=True)
    title: Mapped[str]
    title_key: Mapped[str]
    """Unique: the title as it reads, see `domain.title_key`."""
