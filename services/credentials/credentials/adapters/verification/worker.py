"""`python -m credentials.adapters.verification.worker <limits>`: examines one document after another.

A document that takes too much computing or memory ends this process and nothing else: the alarm and the limit on
memory are the operating system's. What is counted is the time of a processor: on a busy machine honest documents wait.
It ends by itself when whoever started it is gone. It holds no secret and opens no connection.
"""

import os
import resource
import signal
import sys
import traceback

from credentials.adapters.verification.examination import TooCostly, Unreadable, examine
from credentials.adapters.verification.limits import Limits
from credentials.adapters.verification.wire import ANSWERS, HEAD, LIMITS, Answer, pack
from shared.errors import Refusal


def main() -> None:
    limits = LIMITS.validate_json(sys.argv[1])
    os.nice(limits.niceness)
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while head := sys.stdin.buffer.read(HEAD):
        document = sys.stdin.buffer.read(int.from_bytes(head, "big"))
        signal.setitimer(signal.ITIMER_PROF, limits.seconds)
        answer = _examine(document, limits)
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.buffer.write(pack(ANSWERS.dump_json(answer)))
        sys.stdout.buffer.flush()


def _examine(document: bytes, limits: Limits) -> Answer:
    try:
        return Answer(examined=examine(document, limits))
    except Refusal as refusal:
        return Answer(code=refusal.code, detail=refusal.detail)
    except (MemoryError, RecursionError):
        return Answer(code=TooCostly.code, detail="understanding this document takes more than any honest one needs")
    except Exception:  # noqa: BLE001 - a stranger chose the document: it gets an answer, we the traceback
        traceback.print_exc()
        return Answer(code=Unreadable.code, detail="this cannot be read as a credential")


if __name__ == "__main__":
    main()
