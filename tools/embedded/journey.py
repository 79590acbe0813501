"""What people do on the platform, as calls of its public API; used by the demo, the replay and the tests."""

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID, uuid5

import httpx

JSON = dict[str, Any]  # Any: JSON
T = TypeVar("T")

PATIENCE_SECONDS = 150.0  # an upload that was broken off is waited for, a minute at a time
FINISH_SECONDS = 600.0
NAMESPACE = UUID("0c1f4b8e-6f0a-5d2c-9f41-6c0a4f1d7e55")
AWAY = {502, 503, 504}
TRIES = 8


class Refused(Exception):
    """The platform answered with an error; its problem document says why."""

    def __init__(self, answer: httpx.Response) -> None:
        self.status = answer.status_code
        self.problem: JSON = answer.json() if "json" in answer.headers.get("content-type", "") else {}
        self.code = str(self.problem.get("code", ""))
        request = answer.request
        super().__init__(f"{request.method} {request.url.path}: {answer.status_code} {self.code} {answer.text[:400]}")


class Person:
    """Somebody who calls the API, signed in or not.

    Every POST, unless `keyed` is false, carries an Idempotency-Key made from `seed` and the request, so that a
    broken-off run may be taken up again without doing anything twice. Where the platform is unavailable or asks to
    wait, the request is sent again, within bounds.
    """

    patience_seconds = PATIENCE_SECONDS
    """How long the effect of an event is waited for."""

    def __init__(self, client: httpx.AsyncClient, *, seed: str | None = None) -> None:
        self.client, self.seed = client, seed or secrets.token_hex(8)
        self._credentials: JSON = {}
        self._token, self._until = "", 0.0
        self._signing_in = asyncio.Lock()

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content: bytes | None = None,
        key: str | None = None,
        keyed: bool = True,
        **parameters: object,
    ) -> Any:  # Any: JSON
        """Send a request. Returns the answer's JSON, or its text where it is not JSON; raises Refused."""
        if self._credentials and time.monotonic() > self._until:
            async with self._signing_in:  # other requests of the same person wait for it
                if time.monotonic() > self._until:
                    await self._sign_in()
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        if method == "POST" and keyed:
            headers["Idempotency-Key"] = str(uuid5(NAMESPACE, f"{self.seed} {path} {key or body}"))
        if content is not None:
            headers["Content-Type"] = "application/octet-stream"
        query = {name: str(value) for name, value in parameters.items() if value is not None}
        answer = await self._send(method, path, headers=headers, json=body, content=content, params=query or None)
        return answer.json() if answer.content and "json" in answer.headers.get("content-type", "") else answer.text

    async def finish(self, started: JSON) -> JSON:
        """Wait until a release or a board has gone through all results. Returns its last state; raises TimeoutError."""
        path = (
            f"/v1/releases/{started['release_id']}" if "release_id" in started else f"/v1/boards/{started['board_id']}"
        )
        async with asyncio.timeout(FINISH_SECONDS):
            while started["state"] == "under_way":
                await asyncio.sleep(0.5)
                started = await self.ask("GET", path)
        return started

    async def _send(self, method: str, path: str, **request: Any) -> httpx.Response:  # Any: httpx's own arguments
        began, attempt = time.monotonic(), 0
        while True:
            wait = min(0.1 * 2**attempt, 3)
            attempt += 1
            try:
                answer = await self.client.request(method, path, **request)
            except httpx.TransportError:  # the answer may be lost: the same key makes the repeat harmless
                if attempt == TRIES:
                    raise
            else:
                if answer.is_success:
                    return answer
                refused, asked = Refused(answer), answer.headers.get("retry-after", "")
                if asked.isdigit():  # temporary: a checkout that a killed process was opening, or a rate limit
                    wait = max(wait, int(asked))
                    busy = time.monotonic() + wait < began + PATIENCE_SECONDS
                else:
                    busy = (refused.status in AWAY or refused.code == "idempotency_key_running") and attempt < TRIES
                if not busy:
                    raise refused
            await asyncio.sleep(wait)

    async def all(self, path: str, **parameters: Any) -> AsyncGenerator[JSON]:
        """Yield every item of a paged list. Any: the list's own query parameters."""
        cursor: str | None = None
        while True:
            page = await self.ask("GET", path, cursor=cursor, limit=100, **parameters)
            for item in page["items"]:
                yield item
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    def sign_in_later(self, email: str, password: str) -> None:
        """Keep the credentials, and sign in before the next request."""
        self._credentials = {"email": email, "password": password}

    async def sign_in(self, email: str, password: str, *, keep: bool = False) -> JSON:
        """Sign in. Returns the account. With `keep` the client itself carries the token from now on."""
        self._credentials = {"email": email, "password": password}
        account = await self._sign_in()
        if keep:
            self.client.headers["Authorization"] = f"Bearer {self._token}"
        return account

    async def _sign_in(self) -> JSON:
        tokens = (await self._send("POST", "/v1/sign-ins", json=self._credentials)).json()
        self._token = str(tokens["access_token"])
        self._until = time.monotonic() + float(tokens["expires_in"]) * 0.8
        return tokens["account"]


@dataclass(frozen=True)
class Name:
    given: str
    family: str


class Learner(Person):
    """A person who studies."""

    async def open_account(self, email: str, password: str) -> JSON:
        try:
            await self.ask("POST", "/v1/accounts", {"email": email, "password": password}, key="account")
        except Refused as refused:
            if refused.code != "email_taken":
                raise
        return await self.sign_in(email, password)

    async def register(self, name: Name, email: str) -> JSON:
        """Register with the short form, certifying both admission criteria. Returns the learner."""
        declaration = await self.ask("GET", "/v1/declarations/current")
        answers = {criterion["criterion"]: True for criterion in declaration["criteria"]}
        form = {
            "given_name": name.given,
            "family_name": name.family,
            "country": "GB",
            "contact_email": email,
            "declaration": {"version": declaration["version"], "answers": answers},
        }
        try:
            return await self.ask("POST", "/v1/learners", form, key="registration")
        except Refused as refused:
            if refused.code != "already_registered":
                raise
            return await self.ask("GET", "/v1/learners/me")

    async def confirm_address(self, code: str) -> JSON:
        """Confirm the contact address with the code that was sent there."""
        return await self.ask("PUT", "/v1/learners/me/contact-email", {"code": code})

    async def order(self, course_ids: Iterable[str], *, purpose: str = "order") -> JSON:
        """Put the courses into the basket and place the order. Returns it."""
        wanted = sorted(course_ids)
        for course_id in wanted:
            await self.ask("PUT", f"/v1/basket/items/{course_id}")
        return await eventually(
            lambda: self.ask("POST", "/v1/orders", {"course_ids": wanted}, key=purpose),
            patient_with={"registration_needed", "course_not_on_sale"},
            seconds=self.patience_seconds,
        )

    async def check_out(self, order: JSON, name: Name, email: str) -> JSON:
        payer = {"email": email, "given_name": name.given, "family_name": name.family}
        return await self.ask("POST", f"/v1/orders/{order['order_id']}/checkout", {"payer": payer})

    async def enrolments_of(self, order_id: str) -> list[JSON]:
        """Wait until every line of a paid order is an enrolment or is being refunded. Returns the enrolments."""

        async def settled() -> list[JSON] | None:
            order = await self.ask("GET", f"/v1/orders/{order_id}")
            if order["paid_at"] and all(line["enrolment_id"] or line["refund"] for line in order["lines"]):
                ids = {line["enrolment_id"] for line in order["lines"] if line["enrolment_id"]}
                return [await self.ask("GET", f"/v1/enrolments/{one}") for one in sorted(ids)]
            return None

        what = f"order {order_id} is paid and its enrolments are active"
        return await until(settled, what, seconds=self.patience_seconds)

    async def study(self, enrolment_id: str, *, units: int | None = None) -> list[JSON]:
        """Read and finish the units, or the first few. Returns those read."""
        read: list[JSON] = []
        async for summary in self.all(f"/v1/enrolments/{enrolment_id}/units"):
            if units is not None and len(read) >= units:
                break
            path = f"/v1/enrolments/{enrolment_id}/units/{summary['unit_id']}"
            read.append(await self.ask("GET", path))
            await self.ask("PUT", f"{path}/progress", {"status": "finished"})
        return read

    async def submit(self, enrolment_id: str, window_id: str, work: bytes, filename: str = "project.md") -> JSON:
        """Hand in work. Returns the receipt; raises ValueError where its hash is not that of what was sent."""
        receipt = await eventually(
            lambda: self.ask(
                "PUT",
                f"/v1/assessments/{enrolment_id}/submission",
                content=work,
                filename=filename,
                window_id=window_id,
            ),
            patient_with={"not_found"},  # assessment has not consumed the event about the enrolment yet
            seconds=self.patience_seconds,
        )
        if receipt["sha256"] != hashlib.sha256(work).hexdigest():
            raise ValueError(f"the receipt of {enrolment_id} is not for what was sent")
        return receipt


async def until(
    look: Callable[[], Awaitable[T | None]], what: str, *, seconds: float = PATIENCE_SECONDS, first_wait: float = 0.02
) -> T:
    """Call `look` at ever longer intervals until it returns something; raises TimeoutError that names `what`."""
    deadline = time.monotonic() + seconds
    wait = first_wait
    while True:
        found = await look()
        if found is not None:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds:.0f} s still not: {what}")
        await asyncio.sleep(wait)
        wait = min(wait * 1.5, 1.0)


async def eventually(do: Callable[[], Awaitable[T]], *, patient_with: set[str], seconds: float = PATIENCE_SECONDS) -> T:
    """Call `do` again while it is refused only because an event has not arrived yet (the codes in `patient_with`)."""
    last: list[Refused] = []

    async def attempt() -> T | None:
        try:
            return await do()
        except Refused as refused:
            if refused.code not in patient_with:
                raise
            last[:] = [refused]
            return None

    try:
        return await until(attempt, "an event has arrived", seconds=seconds)
    except TimeoutError as error:
        raise last[0] from error


async def pay_at_the_sandbox(client: httpx.AsyncClient, pay_url: str) -> None:
    """Pay without a browser, through the sandbox provider's control API."""
    page = httpx.URL(pay_url)
    session_id = page.path.rstrip("/").rpartition("/")[2]
    answer = await client.post(page.copy_with(path=f"/control/pay/{session_id}", query=None))
    answer.raise_for_status()


def is_here(url: httpx.URL) -> bool:
    return url.host in {"localhost", "127.0.0.1"}


async def keep_here(request: httpx.Request) -> None:
    """Send requests for `localhost` to 127.0.0.1, where our services listen: on [::1] another program may."""
    if is_here(request.url):
        request.url = request.url.copy_with(host="127.0.0.1")


@asynccontextmanager
async def connected(base_url: str) -> AsyncGenerator[httpx.AsyncClient]:
    """Open a client of the platform at this address; requests to this machine go past any proxy."""
    limits = httpx.Limits(max_connections=32, max_keepalive_connections=32)
    hooks = {"request": [keep_here]}
    elsewhere = not is_here(httpx.URL(base_url))
    async with httpx.AsyncClient(
        base_url=base_url, timeout=60, limits=limits, event_hooks=hooks, trust_env=elsewhere
    ) as client:
        yield client
