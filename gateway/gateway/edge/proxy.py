"""The reverse proxy: guards a request, routes it, authenticates its caller, counts it against a limit, passes it on."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.edge import cors, guard, responses
from gateway.edge.access_log import AccessLog
from gateway.edge.connection import Connection, ConnectionBroken
from gateway.edge.cors import Origins
from gateway.edge.errors import (
    BodyTooLarge,
    CallersUnrecognisable,
    DeadlineExceeded,
    InternalError,
    MalformedPath,
    NoSuchOperation,
    RateLimited,
    RequestTimeout,
    UrlTooLong,
)
from gateway.edge.exchange import CallerLeft, Exchange, Message, Receive, Request, Send
from gateway.edge.guard import Head, Limits
from gateway.edge.rate_limit import Policy, RateLimiter
from gateway.edge.request_context import RequestContext
from gateway.edge.routes import OWN, Route, Routes
from gateway.edge.upstream import Upstream
from shared.access import InvalidToken
from shared.errors import DomainError
from shared.outages import is_database_down

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]  # ASGI's own type
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Verify = Callable[[str], Awaitable[Mapping[str, Any]]]
"""Returns an access token's claims (Any: JSON) or raises InvalidToken; remembers what it has verified."""

Declares = Callable[[str, bytes, str], bool]
"""Whether the operation of that method and path, routed by that prefix, declares a certain property in its document."""

_ASKED: Final = b"access-control-request-method: "
_BEARER: Final = b"bearer "
_SAFE: Final = frozenset({"GET", "HEAD"})
_CALLER_LEFT: Final = 499  # what the log shows where nobody waited for an answer
_random = random.Random()  # noqa: S311 - ids distinguish requests; they protect nothing


@dataclass(frozen=True, slots=True)
class ProxyPolicy:
    """The limits that hold for every request: sizes in bytes, times in seconds."""

    limits: Limits = field(default_factory=Limits)
    timeout: float = 30.0
    stream_idle: float = 60.0
    scheme: str = "http"
    trusted_hops: int = 0
    """Proxies of ours in front, each of which appends to X-Forwarded-For; 0 means the peer is the caller."""


class Proxy:
    """The front door as an ASGI application; `own` answers what is routed to the gateway itself.

    `policies` must hold "anonymous", "person" and "partner" and every limit the routing table names.
    `takes_key`: an Idempotency-Key that the operation does not declare is stored by nobody, so it makes no request
    repeatable.

    :raises ValueError: a service of the routing table has no address, or a policy is missing
    """

    def __init__(
        self,
        *,
        routes: Routes,
        upstreams: Mapping[str, Upstream],
        own: App,
        verify: Verify,
        origins: Origins,
        policies: Mapping[str, Policy],
        access_log: AccessLog,
        proxy_policy: ProxyPolicy,
        takes_key: Declares = lambda _method, _path, _prefix: False,
        any_origin: Declares = lambda _method, _path, _prefix: False,
    ) -> None:
        missing = routes.services() - set(upstreams)
        missing |= (routes.policies() | {"anonymous", "person", "partner"}) - set(policies)
        if missing:
            raise ValueError(f"no address or policy for: {', '.join(sorted(missing))}")
        self._routes = routes
        self._upstreams = upstreams
        self._own = own
        self._verify = verify
        self._origins = origins
        self._limiters = {name: RateLimiter(policy) for name, policy in policies.items()}
        self._access_log = access_log
        self._proxy_policy = proxy_policy
        self._warned_of_proxies = False
        self._takes_key = takes_key
        self._any_origin = any_origin
        self._scheme = proxy_policy.scheme.encode()
        self._given_up: set[asyncio.Future[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._own(scope, receive, send)
            return
        context = RequestContext(scope, send)
        status = _CALLER_LEFT
        try:
            status = await self._answer(context, receive)
        except DomainError as error:
            status = await self._refuse(context, error)
        except CallerLeft:
            pass
        except Exception:
            if context.started:
                raise
            log.exception("unexpected failure", extra={"request_id": context.request_id})
            status = await self._refuse(context, InternalError("this is our fault; it has been recorded"))
        finally:
            if not context.kept_elsewhere:
                self._access_log.record(context.entry(status))

    async def _answer(self, context: RequestContext, receive: Receive) -> int:
        scope, proxy_policy = context.scope, self._proxy_policy
        method: str = scope["method"]
        raw_path: bytes = scope["raw_path"]
        query: bytes = scope["query_string"]
        head = guard.sort_headers(scope["headers"], proxy_policy.limits)
        context.identify(head)
        if method == "OPTIONS":
            return await self._respond_to_options(context, head, raw_path, query)
        guard.check_target(raw_path, query, proxy_policy.limits)
        context.own = self._origins.headers(head.origin)

        route = self._routes.find(method, raw_path)
        context.route = route.prefix
        if self._any_origin(method, raw_path, route.prefix):
            context.own = cors.ANY
        address = self._address(scope, head)
        authorization = head.authorization
        claims: Mapping[str, Any] | None = None
        if authorization is not None and authorization[:7].lower() == _BEARER:
            claims = await self._authenticate(context, authorization[7:].strip(), address)
        if not route.free:
            self._allow(context, route, claims, address)

        if route.service == OWN:
            return await self._answer_here(context, head, address, route, receive)

        upstream = self._upstreams[route.service]
        timeout = route.timeout or proxy_policy.timeout
        if head.chunked:
            head.lines.append(b"transfer-encoding: chunked")
        elif head.length is not None:
            head.lines.append(b"content-length: %d" % head.length)
        request = Request(
            method=method,
            head=b"%b %b HTTP/1.1\r\nhost: %b\r\nx-request-id: %b\r\ntraceparent: %b\r\nx-forwarded-for: %b\r\n"
            b"x-forwarded-host: %b\r\nx-forwarded-proto: %b\r\nx-request-timeout-ms: %d\r\n%b\r\n"
            % (
                method.encode(),
                raw_path + b"?" + query if query else raw_path,
                upstream.authority,
                context.request_id.encode(),
                context.traceparent.encode(),
                address.encode(),
                head.host,
                self._scheme,
                int(timeout * 1000),
                b"".join([line + b"\r\n" for line in head.lines]),
            ),
            length=head.length,
            chunked=head.chunked,
            max_body=route.max_body or proxy_policy.limits.body,
            deadline=context.tick + timeout,
            repeatable=lambda: self._repeatable(method, raw_path, route.prefix, head),
        )
        exchange = Exchange(upstream, request, receive)
        try:
            connection = await exchange.begin()
            return await self._pass_on(context, exchange, connection, upstream, private=authorization is not None)
        finally:
            if exchange.pumping:
                await exchange.stop_pump()
            exchange.end()

    def _repeatable(self, method: str, path: bytes, prefix: str, head: Head) -> bool:
        """Whether the request may be sent again after the service broke off: effect and answer stay those of one."""
        if method == "PUT":  # where it is bound to a revision, the first one has made another
            return not any(line.startswith(b"if-match: ") for line in head.lines)
        return method in _SAFE or (head.idempotency_key is not None and self._takes_key(method, path, prefix))

    async def _authenticate(
        self, context: RequestContext, token: bytes, address: str
    ) -> Mapping[str, Any]:  # Any: JSON
        """Return the claims of a token. A bad one is charged to its address: guessing costs the guesser.

        :raises InvalidToken: 401
        :raises CallersUnrecognisable: 503, the database that holds the keys is down
        """
        try:
            claims = await self._verify(token.decode("latin-1"))
        except InvalidToken:
            self._spend(context, "anonymous", address)
            raise
        except Exception as error:
            if not is_database_down(error):
                raise
            raise CallersUnrecognisable(
                "who you are cannot be checked at the moment", headers={"retry-after": "2"}
            ) from error
        context.caller = str(claims["sub"])
        return claims

    def _allow(
        self, context: RequestContext, route: Route, claims: Mapping[str, Any] | None, address: str
    ) -> None:  # Any: JSON
        """Count the request against its caller's rate limits.

        :raises RateLimited: 429
        """
        kind = route.limit or ("anonymous" if claims is None else "partner" if "client_id" in claims else "person")
        key = address if route.limit or claims is None else context.caller
        self._spend(context, kind, key)
        for policy in route.limits_of(context.scope["query_string"]):
            self._spend(context, policy, key)

    def _spend(self, context: RequestContext, policy: str, key: str) -> None:
        limiters = self._limiters[policy]
        spent = limiters.take(key, context.tick)
        context.allowance = limiters.headers(spent)
        if not spent.allowed:
            raise RateLimited(
                f"at most {limiters.policy.quota} requests in {limiters.policy.window} s",
                headers={"retry-after": str(spent.reset)},
            )

    def _address(self, scope: Scope, head: Head) -> str:
        peer: str = scope["client"][0] if scope["client"] else "unknown"
        hops = self._proxy_policy.trusted_hops
        if not hops and head.forwarded_for is not None and not self._warned_of_proxies:
            self._warned_of_proxies = True  # once a process: anybody may send the header
            log.warning(
                "X-Forwarded-For came, and MC_TRUSTED_HOPS is 0: if a proxy of yours sent it, say how many there are; "
                "everybody behind it counts as one client"
            )
        if hops and head.forwarded_for is not None:
            chain = [part.strip() for part in head.forwarded_for.decode("latin-1").split(",")]
            if len(chain) >= hops and guard.is_address(chain[-hops]):
                return chain[-hops]
        return peer

    async def _pass_on(
        self, context: RequestContext, exchange: Exchange, connection: Connection, upstream: Upstream, *, private: bool
    ) -> int:
        status = connection.status
        if responses.is_missing(status, connection.headers) and responses.wants_page(context.scope):
            return await self._reply(context, *responses.astray(status))
        whole = connection.body()
        headers = responses.passed_on(
            status,
            connection.headers,
            context.headers(),
            whole=whole if context.scope["method"] != "HEAD" else None,
            private=private,
            base_url=upstream.base,
        )
        context.started = True
        await context.send({"type": "http.response.start", "status": status, "headers": headers})
        if whole is not None:
            await context.send({"type": "http.response.body", "body": whole})
            return status
        watch = asyncio.create_task(exchange.watch())
        try:
            while True:
                async with asyncio.timeout(self._proxy_policy.stream_idle):
                    chunk = await connection.read()
                if chunk is None:
                    break
                await context.reply({"type": "http.response.body", "body": chunk, "more_body": True})
            await context.reply({"type": "http.response.body", "body": b""})
        except (ConnectionBroken, TimeoutError):
            return 502  # the head is out: uvicorn cuts the connection, which is how the caller learns of it
        finally:
            watch.cancel()
        return status

    async def _answer_here(
        self, context: RequestContext, head: Head, address: str, route: Route, receive: Receive
    ) -> int:
        """Answer with the gateway's own API, which gets the same cleaned request and timeout as a service would."""
        body = await self._read_whole(receive, head, route.max_body or self._proxy_policy.limits.body)

        async def receive_body() -> Message:
            nonlocal body
            if body is None:
                return await receive()
            message: Message = {"type": "http.request", "body": body, "more_body": False}
            body = None
            return message

        status = 500
        late = False
        private = head.authorization is not None

        async def send_marked(message: Message) -> None:
            nonlocal status
            if late:
                return
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = responses.passed_on(
                    status, message["headers"], context.headers(), whole=None, private=private, base_url=b"\0"
                )
                message = {**message, "headers": headers}
            await context.reply(message)

        headers = [
            (b"host", head.host),
            (b"x-request-id", context.request_id.encode()),
            (b"traceparent", context.traceparent.encode()),
            (b"x-forwarded-for", address.encode()),
            (b"x-forwarded-proto", self._scheme),
        ]
        for line in head.lines:
            name, _, value = line.partition(b": ")
            headers.append((name, value))
        if body:
            headers.append((b"content-length", b"%d" % len(body)))
        context.kept_elsewhere = True  # the API behind keeps its own record of it
        answering = asyncio.ensure_future(self._own({**context.scope, "headers": headers}, receive_body, send_marked))
        left = context.tick + (route.timeout or self._proxy_policy.timeout) - time.monotonic()
        try:
            await asyncio.wait([answering], timeout=max(left, 0))
        finally:
            late = not answering.done()
            if late:  # a handler that waits for a silent database may ignore the cancellation, so it is not awaited
                answering.cancel()
                self._given_up.add(answering)
                answering.add_done_callback(self._forget)
        if late:
            context.kept_elsewhere = False
            raise DeadlineExceeded("the front door's own service did not answer in time")
        await answering
        return status

    def _forget(self, answering: asyncio.Future[None]) -> None:
        self._given_up.discard(answering)
        if not answering.cancelled() and (error := answering.exception()) is not None:
            log.warning("a request that was given up ended", extra={"error": repr(error)})

    async def _read_whole(self, receive: Receive, head: Head, max_body: int) -> bytes | None:
        """Return the body of a request to the gateway itself; bodies are small there, so they are read whole first.

        :raises BodyTooLarge: 413
        :raises RequestTimeout: 408
        """
        if not head.chunked and not head.length:
            return None
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._proxy_policy.timeout):
                while size <= max_body and (head.length or 0) <= max_body:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise CallerLeft
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size <= max_body and not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError as error:
            raise RequestTimeout("the request did not arrive in time", headers={"connection": "close"}) from error
        raise BodyTooLarge(f"at most {max_body} bytes are taken here", headers={"connection": "close"})

    async def _respond_to_options(self, context: RequestContext, head: Head, raw_path: bytes, query: bytes) -> int:
        asked = next((line[len(_ASKED) :].decode() for line in head.lines if line.startswith(_ASKED)), None)
        # A page of an allowed origin passes the preflight even where its request will be refused: it can read the
        # refusal of a request, but not of a preflight.
        let_through = head.origin is not None and asked is not None and self._origins.allows(head.origin)
        try:
            guard.check_target(raw_path, query, self._proxy_policy.limits)
            context.own = self._origins.headers(head.origin)
            offered = self._routes.methods(raw_path)
        except (MalformedPath, UrlTooLong, NoSuchOperation):
            if not let_through:
                raise
            offered = list[str]()
        named: set[str] = {*offered, "OPTIONS"} | ({asked} if asked is not None and let_through else set[str]())
        methods = sorted(named)
        if head.origin is not None and asked is not None:
            any_origin = asked in offered and self._may_be_any(asked, raw_path)
            headers = [
                *self._origins.preflight(head.origin, methods, any_origin=any_origin),
                *context.headers(cors=False),
            ]
        else:
            headers = [(b"allow", ", ".join(methods).encode()), *context.headers()]
        await context.reply({"type": "http.response.start", "status": 204, "headers": headers})
        await context.reply({"type": "http.response.body", "body": b""})
        return 204

    def _may_be_any(self, method: str, raw_path: bytes) -> bool:
        """Whether pages of every origin may send the request that a preflight asks about."""
        return self._any_origin(method, raw_path, self._routes.find(method, raw_path).prefix)

    async def _refuse(self, context: RequestContext, error: DomainError) -> int:
        if isinstance(error, NoSuchOperation | MalformedPath) and responses.wants_page(context.scope):
            return await self._reply(context, *responses.astray(error.status))
        if responses.sends_form(context.scope):
            return await self._reply(context, *responses.refusal_page(error))
        return await self._reply(context, *responses.problem(error, context.request_id))

    async def _reply(self, context: RequestContext, status: int, headers: list[responses.Header], body: bytes) -> int:
        if context.started:
            return status
        await context.reply({"type": "http.response.start", "status": status, "headers": headers + context.headers()})
        await context.reply({"type": "http.response.body", "body": body})
        return status
