"""Idempotency: the reply to a request is stored with its effect, and a repeat under the same key gets that reply.

`shared.web.routing` reads the header; `shared.messaging.fast_path` stores a reply, rows and events in one statement.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from pydantic_core import to_json
from sqlalchemy import LargeBinary, func, literal, or_, update
from sqlalchemy.ext.asyncio import AsyncSession

from shared.database import RawStatement, lock_number
from shared.errors import Conflict, Gone, Invalid, Malformed
from shared.messaging.tables import Idempotency

ERASED: Final = 410
"""The status of a blank reply; no error is ever stored as a reply otherwise."""


class IdempotencyKeyMissing(Malformed):
    """Operations that create or move money need the header Idempotency-Key."""


class IdempotencyKeyNotTaken(Malformed):
    """No reply to this operation is kept, so a repeat with the same key would be done again: send it without one."""


class IdempotencyKeyRunning(Conflict):
    """A request with this key is being worked on; ask again shortly."""

    remedy = "Ask again with the same key in some seconds."


class ReplyErased(Gone):
    """The request was done; what was answered was erased with the person it was about."""

    remedy = "Do not send it again: it was done. Read what there is now."


class IdempotencyKeyReused(Invalid):
    """This key came with another request before; a new request needs a new key."""

    remedy = "Make a new key for the new request."


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with an Idempotency-Key: who asks for which operation, under which key."""

    caller: str
    operation: str
    key: str
    digest: bytes
    """A keyed digest of the request without its secrets (`shared.digests`), which `Router.same_secrets` compares."""

    @property
    def lock(self) -> int:
        """The number of the advisory lock that whoever works on the request holds."""
        return lock_number(self.caller, self.operation, self.key)


@dataclass(frozen=True, slots=True)
class StoredReply:
    """The reply that a repeat of the request gets (see `shared.messaging.tables.Idempotency`)."""

    asked: Asked
    status: int
    headers: Mapping[str, str]
    body: bytes

    def values(self) -> dict[str, object]:
        """Return the row of `idempotency_keys`, as a RawStatement takes it."""
        return {
            "caller": self.asked.caller,
            "operation": self.asked.operation,
            "key": self.asked.key,
            "request_digest": self.asked.digest,
            "status": self.status,
            "headers": to_json(self.headers).decode(),
            "body": self.body,
        }


async def store_reply(session: AsyncSession, reply: StoredReply) -> bool:
    """Store a reply in the session's transaction; return False where one is stored under its key already."""
    return (await _STORE.within(session, **reply.values())).rowcount == 1


INSERT_REPLY: Final = """
    insert into idempotency_keys (caller, operation, key, request_sha256, request_digest, status, headers, body)
    select :caller::text, :operation::text, :key::text, ''::bytea, :request_digest::bytea, :status::int,
        :headers::jsonb, :body::bytea
"""
_STORE: Final = RawStatement(f"{INSERT_REPLY} on conflict do nothing")


async def find_reply(session: AsyncSession, asked: Asked) -> Any | None:  # Any: a row of `idempotency_keys`
    """Return what is stored under the request's key, whose lock is held until the transaction ends; None if nothing is.

    Raises IdempotencyKeyRunning: a request with this key is being worked on.
    """
    if not (await _TRY_LOCK.within(session, number=asked.lock)).scalar_one():
        raise IdempotencyKeyRunning("a request with this key is being worked on", headers={"Retry-After": "1"})
    found = await _STORED.within(session, caller=asked.caller, operation=asked.operation, key=asked.key)
    return found.one_or_none()


_TRY_LOCK: Final = RawStatement("select pg_try_advisory_xact_lock(:number)")
_STORED: Final = RawStatement("""
    select request_sha256, request_digest, status, headers, body from idempotency_keys
    where caller = :caller and operation = :operation and key = :key
""")
"""A statement of its own: one that also took the lock might not see a reply that was stored just before."""


async def erase_replies(session: AsyncSession, person_id: UUID, *words: str | None) -> None:
    """Blank the stored replies to a person who is erased, and those to others that hold their id or, as a whole value,
    one of these words (names, addresses).

    The caller holds the person's advisory lock, so that no reply is written meanwhile. Reads the replies of one day.
    """
    private = {str(person_id).encode(), *(json.dumps(word, ensure_ascii=False).encode() for word in words if word)}
    holds = (func.position(literal(one, LargeBinary).op("in")(Idempotency.body)) > 0 for one in sorted(private))
    await session.execute(
        update(Idempotency)
        .where(Idempotency.body != b"", or_(Idempotency.caller == str(person_id), *holds))
        .values(status=ERASED, headers={}, body=b"")
        .execution_options(synchronize_session=False)
    )
