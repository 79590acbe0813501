"""Writes the generated documents under docs/; with `--check` it only says which are stale."""

import json
import sys
from pathlib import Path
from typing import Any

from embedded import metrics_page, settings_page
from embedded.services import merged_openapi
from shared.events import Event, registry
from shared.messaging.rabbitmq import EXCHANGE

DOCS = Path(__file__).parents[2] / "docs"


def asyncapi() -> dict[str, Any]:  # Any: JSON
    """Return the AsyncAPI 3.1 document: every event as a channel of its own on the one exchange."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for kind in _kinds():
        schema = kind.model_json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {})
        schemas[kind.__name__] = schema
        messages[kind.__name__] = {
            "name": kind.type,
            "contentType": "application/cloudevents+json",
            "summary": _summary(kind),
            "payload": {
                "allOf": [
                    {"$ref": "#/components/schemas/CloudEvent"},
                    {
                        "properties": {
                            "type": {"const": kind.type},
                            "data": {"$ref": f"#/components/schemas/{kind.__name__}"},
                        }
                    },
                ]
            },
        }
        channels[kind.type] = {
            "address": kind.type,
            "messages": {kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"}},
            "bindings": {
                "amqp": {"is": "routingKey", "exchange": {"name": EXCHANGE, "type": "topic", "durable": True}}
            },
        }
        operations[f"announce {kind.type}"] = {
            "action": "send",
            "channel": {"$ref": f"#/channels/{kind.type}"},
            "tags": [
                {"name": kind.type.partition(".")[0]},
                *({"name": f"consumed by {s}"} for s in sorted(kind.consumers)),
            ],
        }
    schemas["CloudEvent"] = {
        "type": "object",
        "required": ["specversion", "id", "source", "type", "subject", "time", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "format": "uuid", "description": "With `source`, shows duplicates"},
            "source": {"type": "string", "examples": ["/services/payments"]},
            "type": {"type": "string"},
            "subject": {"type": "string", "description": "The aggregate's id"},
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"const": "application/json"},
            "dataschema": {"type": "string"},
            "partitionkey": {"type": "string", "description": "The learner where there is one"},
            "traceparent": {"type": "string"},
            "requestid": {"type": "string"},
            "causationid": {"type": "string", "description": "The event whose handling announced this one"},
            "data": {"type": "object"},
        },
    }
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "Microcredentials platform: events",
            "version": "1.0.0",
            "description": "CloudEvents 1.0 in structured JSON on one topic exchange; one quorum queue per service.",
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    }


def reference() -> str:
    """Return the Markdown page of all events, by publisher."""
    lines = ["# Events", "", "Generated from `libs/shared/shared/events`; `make docs` writes it anew.", ""]
    publisher = ""
    for kind in _kinds():
        if kind.type.partition(".")[0] != publisher:
            publisher = kind.type.partition(".")[0]
            lines += [f"## {publisher}", ""]
        consumers = ", ".join(sorted(kind.consumers)) or "nobody yet"
        lines += [f"### {kind.type}", "", f"{_summary(kind)} Consumers: {consumers}. Subject: `{kind.subject}`.", ""]
        lines += ["| field | type | needed |", "|---|---|---|"]
        schema = kind.model_json_schema(mode="serialization")
        for name, field in schema["properties"].items():
            needed = "yes" if kind.model_fields[name].is_required() else "no"
            lines.append(f"| {name} | {_type(field)} | {needed} |")
        lines.append("")
    return "\n".join(lines)


def _kinds() -> list[type[Event]]:
    return sorted(registry().values(), key=lambda kind: kind.type)


def _summary(kind: type[Event]) -> str:
    return " ".join((kind.__doc__ or "").split()) if kind.__doc__ != Event.__doc__ else ""


def _type(field: dict[str, Any]) -> str:  # Any: JSON schema
    if "anyOf" in field:
        return " or ".join(_type(one) for one in field["anyOf"])
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}"
    return str(field.get("format") or field.get("type"))


def documents() -> dict[str, str]:
    return {
        "openapi.json": json.dumps(merged_openapi(), indent=2, ensure_ascii=False, sort_keys=True) + "\n",
        "asyncapi.json": json.dumps(asyncapi(), indent=2, ensure_ascii=False) + "\n",
        "events.md": reference(),
        "settings.md": settings_page.page(),
        "metrics.md": metrics_page.page(),
    }


def main() -> int:
    stale: list[str] = []
    for name, content in documents().items():
        path = DOCS / name
        if "--check" not in sys.argv:
            path.write_text(content)
        elif not path.exists() or path.read_text() != content:
            stale.append(name)
    if stale:
        sys.stderr.write(f"stale: {', '.join(stale)}; run `make docs`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
