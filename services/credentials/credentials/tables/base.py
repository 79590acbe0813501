"""The base of every table here, with its own metadata: the service's own database."""

from typing import ClassVar

from sqlalchemy import MetaData

from shared.database import TableBase, new_metadata


class Base(TableBase):
    __abstract__ = True
    metadata: ClassVar[MetaData] = new_metadata()
