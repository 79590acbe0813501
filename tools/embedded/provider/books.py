"""The sandbox's records: in memory, written through to SQLite.

They are on file because the platform's own databases outlive a restart: a payment confirmed yesterday must still be
found, delivered and refundable today, or every order of an embedded platform would be stuck after its first restart.
SQLite, because a JSON file would be rewritten whole for each of many thousand payments of a replay.
"""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from embedded.installation import Unusable

Record = dict[str, Any]  # Any: JSON

KINDS = ("session", "payment", "refund", "delivery")


class Books:
    """The sandbox's records by kind and id; in memory alone without a file. Raises Unusable where it is damaged."""

    def __init__(self, file: Path | None) -> None:
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._open(file)
        except (sqlite3.Error, KeyError, ValueError) as error:
            raise Unusable(
                f"{file} is damaged ({error!r}): bring it back from a copy; moved away, the payments in it are unknown "
                "to the sandbox"
            ) from error

    def _open(self, file: Path | None) -> None:
        self._file = sqlite3.connect(str(file) if file else ":memory:", isolation_level=None, check_same_thread=False)
        self._file.execute("pragma journal_mode = wal")
        self._file.execute("pragma synchronous = off")  # what is written survives the process, which a restart needs
        self._file.execute(
            "create table if not exists records (kind text, id text, body text, primary key (kind, id)) without rowid"
        )
        self._records: dict[str, dict[str, Record]] = {kind: {} for kind in KINDS}
        for kind, id_, body in self._file.execute("select kind, id, body from records"):
            self._records[kind][id_] = json.loads(body)

    def put(self, kind: str, id_: str, record: Record) -> None:
        self._records[kind][id_] = record
        self._file.execute("insert or replace into records values (?, ?, ?)", (kind, id_, json.dumps(record)))

    def remove(self, kind: str, id_: str) -> None:
        self._records[kind].pop(id_, None)
        self._file.execute("delete from records where kind = ? and id = ?", (kind, id_))

    def get(self, kind: str, id_: str) -> Record | None:
        return self._records[kind].get(id_)

    def all(self, kind: str) -> Iterator[Record]:
        return iter(list(self._records[kind].values()))

    def close(self) -> None:
        self._file.close()
