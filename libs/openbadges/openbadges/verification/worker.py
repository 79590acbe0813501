"""`python -m openbadges.verification.worker <socket>`: fork a process for each document that comes.

Whoever started it sends it one end of a socket for each document. The forked process does all the computing for that
document and nothing else, asks for what is to be fetched, and ends. Processor time is what counts, for all of it
together: after each slice the process reports it and waits until it may go on, and at its limit the operating system
ends it, as it does at the limit of memory. A process whose socket is closed ends with its slice. None of them holds a
secret or opens a connection.
"""

import asyncio
import gc
import json
import math
import os
import resource
import signal
import socket
import sys
import time
import traceback
from types import FrameType

from openbadges import json_ld
from openbadges.errors import BadgeError
from openbadges.verification import parsing
from openbadges.verification.here import InProcess
from openbadges.verification.limits import Limits
from openbadges.verification.outside import Unreachable
from openbadges.verification.parsing import TooCostly, Unreadable
from openbadges.verification.questions import Asking
from openbadges.verification.reading import CredentialTooLarge
from openbadges.verification.wire import (
    ANSWERS,
    FAILURES,
    FETCHES,
    HEAD,
    ORDERS,
    Answer,
    Failure,
    Fetch,
    Kind,
    Order,
    pack,
)

_VC = "https://www.w3.org/ns/credentials/v2"
_OB = "https://purl.imsglobal.org/spec/ob/v3p0/context-3.0.3.json"
_CLR = "https://purl.imsglobal.org/spec/clr/v2p0/context-2.0.1.json"
_COSTLY = Failure(TooCostly.code, "understanding this document takes more than any honest one needs")


def serve(control: socket.socket) -> None:
    """Fork a process at each request, until the process that started this one is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps those that ended
    _warm()
    while True:
        received, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not received:
            return
        (descriptor,) = descriptors
        if os.fork() == 0:
            control.close()
            with socket.socket(fileno=descriptor) as given:
                _work(_Line(given))
            os._exit(0)
        os.close(descriptor)


def _warm() -> None:
    """Read contexts and schemas, as each process would do again otherwise."""
    for contexts, name in (
        ([_VC, _OB], "OpenBadgeCredential"),
        ([_VC, _CLR, _OB], "ClrCredential"),
        ([_VC], "VerifiablePresentation"),
    ):
        document = {"@context": contexts, "id": "urn:x:y", "type": ["VerifiableCredential", name]}
        parsing.parse(json.dumps(document).encode(), Limits())
        json_ld.canonicalise(document)
    gc.collect()
    gc.freeze()  # otherwise each process would copy pages that it only reads


class _Line:
    """The socket to the service, which alone lets this process go on."""

    def __init__(self, given: socket.socket) -> None:
        self._given = given
        self._speaks = False
        self._seconds = math.inf

    def limit(self, limits: Limits) -> None:
        """Count processor time from now on, and limit it."""
        os.nice(limits.niceness)
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        last = math.ceil(limits.seconds) + 1  # for what a signal handler cannot interrupt
        resource.setrlimit(resource.RLIMIT_CPU, (last, last))
        self._seconds = limits.seconds
        signal.signal(signal.SIGPROF, self._pause)
        signal.setitimer(signal.ITIMER_PROF, limits.slice_seconds, limits.slice_seconds)

    def read(self) -> tuple[Kind, bytes]:
        """Return the next message. Ends the process where the socket is closed."""
        kind, size = HEAD.unpack(self._exactly(HEAD.size))
        return Kind(kind), self._exactly(size)

    def send(self, kind: Kind, body: bytes = b"") -> None:
        self._speaks = True
        try:
            self._given.sendall(pack(kind, body))
        except OSError:
            os._exit(1)
        self._speaks = False

    def answer(self, answer: Answer) -> None:
        self.send(Kind.ANSWER, ANSWERS.dump_json(answer))

    def _exactly(self, size: int) -> bytes:
        body = bytearray()
        while len(body) < size:
            try:
                more = self._given.recv(size - len(body))
            except OSError:
                more = b""
            if not more:
                os._exit(1)
            body += more
        return bytes(body)

    def _pause(self, _: int, __: FrameType | None) -> None:
        if self._speaks:
            return
        used = time.process_time()
        if used >= self._seconds:
            self.answer(Answer(refused=_COSTLY))
            os._exit(1)
        self.send(Kind.PAUSE, str(used).encode())
        self._exactly(HEAD.size)


class _Elsewhere:
    """Fetches through the service, which may open connections."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    async def get(self, url: str, most_bytes: int, *, own_word: bool = False) -> bytes:
        if not isinstance(url, str):  # pyright: ignore[reportUnnecessaryIsInstance] - it comes from a stranger
            raise Unreachable("address_refused", "An address it refers to is not a proper one.")
        self._line.send(Kind.FETCH, FETCHES.dump_json(Fetch(url, most_bytes, own_word)))
        kind, body = self._line.read()
        if kind is Kind.FETCHED:
            return body
        failure = FAILURES.validate_json(body)
        raise Unreachable(failure.code, failure.detail)


def _work(line: _Line) -> None:
    order = ORDERS.validate_json(line.read()[1])
    _, document = line.read()
    line.limit(order.limits)
    try:
        answer = asyncio.run(_answer(document, order, line))
    except BadgeError as error:
        answer = Answer(refused=Failure(error.code, error.detail))
    except (MemoryError, RecursionError):
        answer = Answer(refused=_COSTLY)
    except Exception:  # noqa: BLE001 - a stranger chose the document: it gets an answer, we the traceback
        traceback.print_exc()
        answer = Answer(refused=Failure(Unreadable.code, "this cannot be read as a credential"))
    body = ANSWERS.dump_json(answer)
    if len(body) > order.limits.report_bytes:
        body = ANSWERS.dump_json(
            Answer(refused=Failure(CredentialTooLarge.code, "what it holds takes more to tell than any transcript"))
        )
    line.send(Kind.ANSWER, body)


async def _answer(document: bytes, order: Order, line: _Line) -> Answer:
    parser = InProcess(order.limits)
    parsed = await parser.parse(document)
    if order.now is None:
        return Answer(parsed=parsed)
    return Answer(report=await Asking(parser, _Elsewhere(line), order.now).verified(parsed))


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as whoever_started_it:
        serve(whoever_started_it)
