"""The JSON-LD contexts we know, pinned in the process: none is ever fetched, whatever a document names."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

from openbadges.errors import Invalid

CREDENTIALS_CONTEXT = "https://www.w3.org/ns/credentials/v2"

_OPENBADGESLIB = "openbadgeslib.ob3.contexts"
_PYLD = "pyld.documentloader.frozen.bundled"

# Byte for byte the published documents where openbadgeslib bundles them, and of the same meaning where PyLD does
# (VC 1.1, which is read and never issued); tests assert their hashes.
PINNED = {
    CREDENTIALS_CONTEXT: (_OPENBADGESLIB, "credentials-v2.json"),
    "https://purl.imsglobal.org/spec/ob/v3p0/context-3.0.1.json": (_OPENBADGESLIB, "ob-v3p0-context-3.0.1.json"),
    "https://purl.imsglobal.org/spec/ob/v3p0/context-3.0.2.json": (_OPENBADGESLIB, "ob-v3p0-context-3.0.2.json"),
    "https://purl.imsglobal.org/spec/ob/v3p0/context-3.0.3.json": (_OPENBADGESLIB, "ob-v3p0-context-3.0.3.json"),
    "https://purl.imsglobal.org/spec/ob/v3p0/extensions.json": (_OPENBADGESLIB, "ob-v3p0-extensions.json"),
    "https://purl.imsglobal.org/spec/clr/v2p0/context-2.0.1.json": (_OPENBADGESLIB, "clr_context_2.0.1.json"),
    "https://w3id.org/security/data-integrity/v2": (_OPENBADGESLIB, "security-data-integrity-v2.json"),
    "https://w3id.org/security/multikey/v1": (_OPENBADGESLIB, "security-multikey-v1.json"),
    "https://www.w3.org/2018/credentials/v1": (_PYLD, "credentials-v1.jsonld"),
    "https://w3id.org/security/suites/ed25519-2020/v1": (_PYLD, "security-ed25519-2020-v1.jsonld"),
}


class UnknownContext(Invalid):
    """The document names a context that is not pinned here."""


def context_bytes(url: str) -> bytes:
    """Return the document of a context. Raises UnknownContext."""
    if url not in PINNED:
        raise UnknownContext("the document names a context that is not known here", context=url)
    package, name = PINNED[url]
    return (files(package) / name).read_bytes()


def context_of(url: str) -> object:
    """Return the context itself, parsed. Raises UnknownContext."""
    return json.loads(context_bytes(url))["@context"]


@cache
def _pinned(url: str) -> dict[str, Any]:  # Any: JSON
    # 'static' lets PyLD keep the processed context; otherwise each call processes a hundred terms again.
    return {
        "contextUrl": None,
        "documentUrl": url,
        "document": json.loads(context_bytes(url)),
        "tag": "static",
    }


def load(url: str, _: object) -> dict[str, Any]:  # Any: JSON
    return _pinned(url)
