"""Logs as JSON lines with the request id, trace context across HTTP and events, and metrics."""

import contextvars
import json
import logging
import re
import secrets
import sys
from datetime import UTC, datetime
from typing import Final

import orjson
from prometheus_client import Counter, Gauge, Histogram

request_id: contextvars.ContextVar[str | None] = contextvars.ContextVar("request_id", default=None)
traceparent: contextvars.ContextVar[str | None] = contextvars.ContextVar("traceparent", default=None)
operation: contextvars.ContextVar[str | None] = contextvars.ContextVar("operation", default=None)
"""The operationId of the request that is being answered."""

TRACEPARENT: Final = re.compile(r"^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")
REQUEST_ID: Final = re.compile(r"^[A-Za-z0-9._-]{8,64}\Z")

requests_total = Counter("http_requests_total", "Requests by route template", ["service", "method", "route", "status"])
request_seconds = Histogram("http_request_seconds", "Seconds from request to response", ["service", "method", "route"])
outbox_unsent = Gauge("outbox_unsent", "Events committed and not yet confirmed by the broker", ["service"])
outbox_oldest_seconds = Gauge("outbox_oldest_seconds", "Age of the oldest unsent event", ["service"])
outbox_hidden = Gauge(
    "outbox_hidden",
    "Events committed that no feed shows yet, for an older transaction still runs or their id is of the future",
    ["service"],
)
events_sent = Counter("events_sent_total", "Events confirmed by the transport", ["service", "type"])
events_handled = Counter("events_handled_total", "Events by what became of them", ["service", "type", "outcome"])
message_properties_unreadable = Counter(
    "message_properties_unreadable_total", "Deliveries whose properties could not be read: somebody else sent them"
)
cursors_unreadable = Counter(
    "cursors_unreadable_total",
    "Kept positions in an event log that were none: it is read anew",
    ["reader"],
)
feeds_unread = Gauge(
    "feeds_unread", "Feeds not yet read to their end since the start: nothing is ended or removed before", ["service"]
)
feeds_foreign = Gauge("feeds_foreign", "Feeds not read, for they are of another installation's database", ["service"])
feeds_unfinished = Gauge("feeds_unfinished", "Feeds that did not end within their turn, and are read on", ["service"])
history_lost = Gauge(
    "history_lost", "1 while others have read what this database does not have, and nobody has accepted it", ["service"]
)
dead_letters = Gauge("parked_messages", "Messages a person must look at", ["service"])
database_errors = Counter(
    "database_errors_total", "What ended a round of a loop that goes on: by SQLSTATE, or the error's name", ["error"]
)
loops_failed = Counter("loops_failed_total", "Loops that an error ended, and that were begun again", ["loop"])
jobs_failed = Counter("jobs_failed_total", "Jobs that raised", ["job"])
orphaned_files = Gauge(
    "orphaned_files", "Stored files no row names, too many to be put into the trash unseen", ["store"]
)
files_damaged = Counter(
    "stored_files_damaged_total", "Reads of a stored file that was missing, or not as it was received", ["store"]
)
provider_differences = Counter(
    "provider_differences_total", "What the payment provider's list had otherwise than our books", ["kind"]
)
provider_compared = Gauge(
    "provider_compared_timestamp_seconds", "When the payment provider's list was last compared to its end", ["provider"]
)
rows_unreadable = Counter(
    "rows_unreadable_total",
    "Rows that no answer can show, for this release does not understand them",
    ["operation"],
)
rows_failed = Counter("job_rows_failed_total", "Rows on which a job failed", ["job"])
rows_set_aside = Gauge(
    "rows_set_aside", "Rows on which a job failed and which it leaves alone for a while", ["service"]
)


emails_unsent = Gauge("emails_unsent", "E-mails written and not yet taken by the mail server", ["service"])
emails_oldest_seconds = Gauge("emails_oldest_seconds", "Age of the oldest unsent e-mail", ["service"])
emails_failed = Gauge("emails_failed", "E-mails that were given up; a person may send them again", ["service"])
job_succeeded = Gauge(
    "job_last_success_timestamp_seconds", "When a job was last done to its end by this process", ["job"]
)


def set_unknown(*gauges: Gauge) -> None:
    """Set gauges that could not be measured to NaN: no number, and least of all 0, would be true."""
    for gauge in gauges:
        gauge.set(float("nan"))


def new_traceparent() -> str:
    """Return a new W3C trace context, sampled."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def traceparent_of(given: object) -> str | None:
    """Return what was given where it is a W3C trace context; None for anything else."""
    return given if isinstance(given, str) and TRACEPARENT.match(given) else None


def accept_traceparent(given: object) -> str:
    """Return the caller's trace with a span of our own, or a new trace where theirs is missing or malformed."""
    theirs = traceparent_of(given)
    if theirs is None:
        return new_traceparent()
    version, trace, _, flags = theirs.split("-")
    return f"{version}-{trace}-{secrets.token_hex(8)}-{flags}"


def request_id_of(given: object) -> str | None:
    """Return what was given where it is a request id, which is harmless in a log; None for anything else."""
    return given if isinstance(given, str) and REQUEST_ID.match(given) else None


def accept_request_id(given: object) -> str:
    """Return the caller's request id where it is harmless in a log, else a new one."""
    return request_id_of(given) or secrets.token_hex(16)


_PLAIN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


_VALUES: Final = re.compile(
    r"(?P<detail>DETAIL: *).*?(?=(?:\n|\\n)(?:HINT|CONTEXT|\[SQL)|\n\n|\Z)"
    r"|(?P<argument>invalid input for query argument \$\d+: ).*?(?= \([^()]*\)(?:\n|['\"]|\Z)|\n|\Z)"
    r'|(?P<literal>(?:: |value )")[^"\n]*(?=")',
    re.DOTALL,
)


def without_values(error: str) -> str:
    """Return a database error's text without the values that were stored or sought, which are people's data."""
    return _VALUES.sub(lambda found: f"{found[found.lastgroup or 0]}…", error)


class JsonFormatter(logging.Formatter):
    """Formats each record as one line of JSON; the `extra` of a log call becomes members."""

    def __init__(self, service: str, release: str) -> None:
        super().__init__()
        self.constant = {"service": service, "release": release}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id.get(),
            "traceparent": traceparent.get(),
            **self.constant,
        }
        line |= {name: value for name, value in vars(record).items() if name not in _PLAIN}
        if record.exc_info:
            line["exception"] = without_values(self.formatException(record.exc_info))
        if isinstance(error := line.get("error"), str):
            line["error"] = without_values(error)
        try:
            return orjson.dumps(line, default=str).decode()
        except TypeError:  # a lone surrogate, a number beyond 64 bits, a key that is no string
            return json.dumps(line, default=str)


def log_as_json(
    service: str, *, release: str = "development", level: str = "INFO", handler: logging.Handler | None = None
) -> None:
    """Have the whole process log JSON lines, to stdout unless another handler is given."""
    handler = handler or logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(service, release))
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(level)
    for library in ("uvicorn", "uvicorn.error", "uvicorn.access", "alembic", "httpx", "aio_pika", "aiormq"):
        logger = logging.getLogger(library)
        logger.handlers.clear()
        logger.propagate = True
    for quiet in ("uvicorn.access", "alembic", "httpx", "aiormq", "aio_pika"):
        logging.getLogger(quiet).setLevel("WARNING")
