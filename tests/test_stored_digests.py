"""Nothing in any database gives away what somebody typed to whoever guesses it: no plain digest, and of a password, a PIN
or a code that was read out or sent, nothing but argon2id or a keyed digest."""

import base64
import hashlib
import json
import re
from contextlib import asynccontextmanager

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from embedded import demo, people
from embedded.journey import Person, connected, until
from embedded.services import merged_openapi

ALGORITHMS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "blake2b", "blake2s")
TOKEN = re.compile(r"[0-9A-Za-z+/_-]{22,}")
SECRET = re.compile(r"password|secret|pin$|token")
HASHED = re.compile(r"(pin|password).*")
PIN = "402913758206"


class Typed:
    """What went over the wire in a journey."""

    def __init__(self) -> None:
        self.bodies: set[bytes] = set()
        self.values: set[str] = set()
        self.passwords: set[str] = set()
        self.codes: set[str] = set()
        self.learner = ("", "")

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
                if request.url.path == "/v1/accounts":
                    self.learner = content["email"], value
            elif name in {"pin", "code"}:
                self.codes.add(value)

    def digests(self) -> dict[str, str]:
        """What a digest of each would look like at rest -> what it is of."""
        made = {}
        for one in {*self.bodies, *(value.encode() for value in self.values | self.passwords | self.codes)}:
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


def hashes(row):
    """What is stored of passwords and PINs -> whether that is argon2id's."""
    for column, value in row.items():
        if HASHED.fullmatch(column) and value:
            stored = value if value.startswith("$") else bytes.fromhex(value).decode(errors="replace")
            yield column, stored.strip().startswith("$argon2id$")


def without(content, *names):
    return {name: value for name, value in content.items() if name not in names}


async def share_with_both_kinds(base_url, folder, typed):
    """A link with a PIN, and consent for a partner, who takes up its code."""
    async with connected(base_url) as client:
        client.event_hooks["request"].append(typed.note)
        learner, operator = Person(client), Person(client)
        await learner.sign_in(*typed.learner)
        known = people.known(folder)["operator"]
        await operator.sign_in(known.email, known.password)
        held = await operator.ask(
            "POST", "/v1/partners", {"name": "North", "scopes": ["transcripts:read"]}, keyed=False
        )
        body = {"purpose": "Application", "days": 30, "whole_record": True}
        link = await learner.ask("POST", "/v1/shares", body | {"recipient": "Acme", "pin": PIN}, keyed=False)

        async def listed():
            found = [one["client_id"] async for one in learner.all("/v1/recipients")]
            return held["client_id"] in found or None

        await until(listed, "the partner may be named as a recipient")
        consent = await learner.ask("POST", "/v1/shares", body | {"client_id": held["client_id"]}, keyed=False)
        typed.codes |= {PIN, consent["code"], link["address"].rpartition("/")[2]}


async def test_no_plain_digest_of_what_was_typed_is_stored(embedded_platform, monkeypatch):
    typed = Typed()

    @asynccontextmanager
    async def watched(base_url):
        async with connected(base_url) as client:
            client.event_hooks["request"] = [typed.note]
            yield client

    monkeypatch.setattr(demo, "connected", watched)
    await demo.narrate(embedded_platform.url, embedded_platform.deployment.folder, embedded_platform.feeds)
    await share_with_both_kinds(embedded_platform.url, embedded_platform.deployment.folder, typed)
    assert typed.passwords
    assert len(typed.codes) == 4, "of an address, a PIN, a link and a partner's consent"
    assert len(typed.bodies) > 20
    databases = embedded_platform.deployment.databases
    async for table, row in rows(databases["payments"]):
        if table == "notifications":
            typed.bodies.add(bytes.fromhex(json.loads(row)["body"].strip()))

    documents = 0
    async for table, row in rows(databases["credentials"]):
        if table == "editions" and (content := json.loads(row)["content"]) is not None:
            documents += 1
            for one in guesses(content):
                typed.bodies.add(json.dumps(one, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
    assert documents

    found, hashed, seen = set(), set(), 0
    known, secrets = typed.digests(), typed.passwords | typed.codes
    for name, url in databases.items():
        async for table, row in rows(url):
            seen += 1
            found |= {f"{name}.{table}: {known[token]}" for token in TOKEN.findall(row) if token in known}
            found |= {f"{name}.{table}: {secret} itself" for secret in secrets if secret in row}
            hashed |= {(f"{name}.{table}.{column}", is_slow) for column, is_slow in hashes(json.loads(row))}
    assert seen > 500
    assert not found
    assert hashed == {("credentials.shares.pin_hash", True), ("gateway.accounts.password_hash", True)}


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
