"""What the invariants read of a platform at rest: rows of every service's database, and the provider's books."""

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from simulation.simulated_platform import SimulatedPlatform

Row = dict[str, Any]  # Any: database values
WHOLE: Final = {
    "payments": "payments",
    "enrolment": "enrolment",
    "assessment": "assessment",
    "credentials": "credentials",
}


class Look:
    """Reads a platform's databases as their superuser; the rows of a table are read once and kept."""

    def __init__(self, platform: "SimulatedPlatform") -> None:
        self.platform = platform
        self._connections: dict[str, Any] = {}  # Any: asyncpg ships no types
        self._kept: dict[tuple[str, str], list[Row]] = {}
        self.payments = {one["payment_id"]: one for one in platform.provider.payments}
        self.refunds = platform.provider.refunds

    async def __aenter__(self) -> Self:
        return self

    async def _connected(self, service: str) -> Any:  # Any: asyncpg ships no types
        if service not in self._connections:
            self._connections[service] = await self.platform.databases.connect(f"{self.platform.worker}_{service}")
            await self._connections[service].execute("set search_path = public, pg_catalog")
        return self._connections[service]

    async def __aexit__(self, *_: object) -> None:
        for connection in self._connections.values():
            await connection.close()

    async def ask(self, service: str, statement: str, *values: object) -> list[Row]:
        return [dict(row) for row in await (await self._connected(service)).fetch(statement, *values)]

    async def rows(self, service: str, table: str) -> list[Row]:
        key = service, table
        if key not in self._kept:
            self._kept[key] = await self.ask(service, f'select * from "{table}"')
        return self._kept[key]

    async def by(self, service: str, table: str, column: str) -> dict[Any, Row]:  # Any: a key
        return {row[column]: row for row in await self.rows(service, table)}

    async def groups(self, service: str, table: str, column: str) -> dict[Any, list[Row]]:  # Any: a key
        found: dict[Any, list[Row]] = defaultdict(list)
        for row in await self.rows(service, table):
            found[row[column]].append(row)
        return found

    async def tables(self, service: str) -> list[str]:
        found = await self.ask(
            service,
            "select relname from pg_class join pg_namespace on pg_namespace.oid = relnamespace "
            "where nspname = 'public' and relkind in ('r', 'p') and not relispartition order by relname",
        )
        return [row["relname"] for row in found]

    async def erased(self) -> set[Any]:  # Any: UUID
        return {row["learner_id"] for row in await self.rows("enrolment", "learners") if row["anonymised_at"]}
