"""Bodies of requests and answers that no model of ours describes, as OpenAPI documents them."""

from typing import Any, Final

OpenApi = dict[str, Any]  # Any: OpenAPI


def an_object(title: str, description: str) -> OpenApi:
    """Return the schema of a JSON object whose members are defined by another standard."""
    return {
        "schema": {"type": "object", "title": title, "description": description, "additionalProperties": True},
    }


A_CREDENTIAL: Final = an_object("CredentialDocument", "A verifiable credential as JSON-LD: a badge, a record, a list")
TEXT: Final[OpenApi] = {"schema": {"type": "string"}}
BYTES: Final[OpenApi] = {"schema": {"type": "string", "format": "binary"}}
