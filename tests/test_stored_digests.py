"""Nothing in any database gives away what somebody typed to whoever guesses it: no plain digest, no password at all."""

import base64
import hashlib
import json
import re
from contextlib import asynccontextmanager

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from embedded import demo
from embedded.services import merged_openapi

ALGORITHMS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "blake2b", "blake2s")
TOKEN = re.compile(r"[0-9A-Za-z+/_-]{22,}")
SECRET = re.compile(r"password|secret|pin$|token")


class Typed:
    """What went over the wire in a journey."""

    def __init__(self) -> None:
        self.bodies: set[bytes] = set()
        self.values: set[str] = set()
        self.passwords: set[str] = set()

    async def note(self, request: httpx.Request) -> None:
        if "json" not in request.headers.get("content-type", ""):
            return  # of a file there is a receipt, with its SHA-256
        body = await request.aread()
        self.bodies |= {body, f"{request.method} {request.url.path}?{request.url.query.decode()}\n".encode() + body}
        content = json.loads(body)
        for name, value in content.items() if isinstance(content, dict) else ():
            if value and ("email" in name or name.endswith("_name")):
                self.values |= {value, value.lower(), value.upper()}
            elif name == "password":
                self.passwords.add(value)

    def digests(self) -> dict[str, str]:
        """What a digest of each would look like at rest -> what it is of."""
        made = {}
        for one in {*self.bodies, *(value.encode() for value in self.values | self.passwords)}:
            for algorithm in ALGORITHMS:
                digest = hashlib.new(algorithm, one).digest()
                for form in (digest.hex(), *(f(digest).decode().rstrip("=") for f in BASES)):
                    made[form] = f"{algorithm} of {one[:60]!r}"
        return made


BYTES = "\\\\x"
"""What stands before bytes in JSON, and would hide a digest."""
BASES = (base64.b64encode, base64.urlsafe_b64encode)


async def rows(url):
    """Every row of every table, as text; bytes in hexadecimal."""
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        tables = await connection.scalars(
            text("select quote_ident(tablename) from pg_tables where schemaname = 'public'")
        )
        for table in tables.all():
            for row in await connection.scalars(text(f"select to_jsonb(t)::text from {table} t")):
                yield table, row.replace(BYTES, " ")
    await engine.dispose()


def guesses(content):
    """What a document says, as somebody guesses it who knows all but its nonce: the name, the class and the marks."""
    known = without(content, "nonce")
    yield known
    said = without(known, "version", "as_at", "institution")
    if "awards" in said:
        said["credits"] = [without(one, "institution") for one in said["credits"]]
    yield said


def without(content, *names):
    return {name: value for name, value in content.items() if name not in names}


async def test_no_plain_digest_of_what_was_typed_is_stored(embedded_platform, monkeypatch):
    typed, connected = Typed(), demo.connected

    @asynccontextmanager
    async def watched(base_url):
        async with connected(base_url) as client:
            client.event_hooks["request"] = [typed.note]
            yield client

    monkeypatch.setattr(demo, "connected", watched)
    await demo.tell(embedded_platform.url, embedded_platform.place.folder, embedded_platform.feeds)
    assert typed.passwords
    assert len(typed.bodies) > 20
    payments = embedded_platform.place.databases["payments"]
    async for table, row in rows(payments):
        if table == "notifications":
            typed.bodies.add(bytes.fromhex(json.loads(row)["body"].strip()))

    documents = 0
    async for table, row in rows(embedded_platform.place.databases["credentials"]):
        if table == "editions" and (content := json.loads(row)["content"]) is not None:
            documents += 1
            for one in guesses(content):
                typed.bodies.add(json.dumps(one, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
    assert documents

    known, found, seen = typed.digests(), set(), 0
    for name, url in embedded_platform.place.databases.items():
        async for table, row in rows(url):
            seen += 1
            found |= {f"{name}.{table}: {known[token]}" for token in TOKEN.findall(row) if token in known}
            found |= {f"{name}.{table}: a password" for password in typed.passwords if password in row}
    assert seen > 500
    assert not found


def test_no_operation_that_takes_a_key_stores_anything_of_a_secret():
    """What looks like a secret in the body of such an operation is declared as one, and left out of the digest."""
    document = merged_openapi()
    undeclared, declared = [], set()
    for path in document["paths"].values():
        for operation in path.values():
            keyed = any(one.get("name") == "Idempotency-Key" for one in operation.get("parameters", ()))
            if not keyed or "requestBody" not in operation:
                continue
            body = operation["requestBody"]["content"].get("application/json", {}).get("schema", {})
            schema = document["components"]["schemas"].get(body.get("$ref", "").rpartition("/")[2], {})
            for name, member in schema.get("properties", {}).items():
                if member.get("writeOnly"):
                    declared.add(f"{operation['operationId']}.{name}")
                elif SECRET.search(name):
                    undeclared.append(f"{operation['operationId']}.{name}")
    assert "open_account.password" in declared
    assert not undeclared
