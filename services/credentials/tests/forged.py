"""Genuine badges and records, and how a forged one looks to its reader."""

import json
from collections import defaultdict
from copy import deepcopy
from functools import cache
from typing import Any

from pyld import jsonld

from openbadges import canonical_templates, contexts, proofs
from openbadges.verification.limits import Limits
from openbadges.verification.parsing import ParsedCredential, parse
from shared.errors import DomainError

from .badges import DID, NOW, SIGNER, SLOTS, build, values
from .clr import record

THIN = "\u2009"
ISSUED = "https://badges.example.ac.uk"


@cache
def genuine_badge() -> dict:
    return canonical_templates.BadgeSigner(build, SLOTS, SIGNER).sign(values(7), NOW)


@cache
def foreign_badge() -> dict:
    """With everything a page shows."""
    document = deepcopy(build(values(7)))
    results = [
        {"id": f"urn:result:{n}", "type": ["Result"], "resultDescription": f"{ISSUED}/marks", "value": value}
        for n, value in enumerate(("100", "Failed"))
    ]
    document["credentialSubject"] |= {"result": results}
    document["credentialSubject"]["identifier"].append(
        {"type": "IdentityObject", "hashed": False, "identityType": "name", "identityHash": "Ada"}
    )
    document["credentialSubject"]["achievement"] |= {
        "resultDescription": [
            {"id": f"{ISSUED}/marks", "type": ["ResultDescription"], "name": "Mark", "resultType": "Percent"}
        ],
        "creator": {"id": DID, "type": ["Profile"], "name": "University of Example"},
        "tag": ["a", "b"],
    }
    document["evidence"] = [deepcopy(results[1])]
    return proofs.sign(document, SIGNER, NOW)


@cache
def genuine_record() -> dict:
    return proofs.sign(record(2, partial=True), SIGNER, NOW)


def parsed(document: dict) -> ParsedCredential | None:
    """None: refused as it stands."""
    try:
        found = parse(json.dumps(document).encode(), Limits())
    except DomainError:
        return None
    return found if found.readable and found.signed is not None else None


def has_same_signature(found: ParsedCredential | None, known: ParsedCredential | None) -> bool:
    assert known is not None
    return found is not None and found.signed == known.signed


def at(document: Any, path: tuple) -> Any:  # Any: JSON
    for key in path:
        document = document[key]
    return document


def presented(*contexts: str) -> dict:
    """A badge with a presentation in its evidence, in which the context of the outside holds no more."""
    inside = {**deepcopy(build(values(8))), "@context": list(contexts)}
    inside["credentialSubject"]["achievement"]["id"] += "-within"
    if not contexts:
        del inside["@context"]
    outside = deepcopy(build(values(7)))
    outside["evidence"] = {"type": ["VerifiablePresentation"], "verifiableCredential": inside}
    return outside


@cache
def known_terms() -> dict[str, set[tuple[str, str | None]]]:
    """Term -> IRIs and what its values are, as PyLD understands the pinned contexts."""
    processor = jsonld.JsonLdProcessor()
    options = {"documentLoader": contexts.load, "base": None, "processingMode": "json-ld-1.1"}
    found: dict[str, set[tuple[str, str | None]]] = defaultdict(set)

    def gather(around: dict, local: object, within: tuple[str, ...]) -> None:
        # A context within another may redefine what is protected there.
        free = {name: one and one | {"protected": False} for name, one in around["mappings"].items()}
        active = processor.process_context(around | {"mappings": free}, local, options)
        for term, one in active["mappings"].items():
            if one is None or term in within or around["mappings"].get(term) == one:
                continue
            found[term].add((one["@id"], one.get("@type")))
            if "@context" in one:
                gather(active, one["@context"], (*within, term))

    for url in contexts.PINNED:
        gather(processor.process_context({"mappings": {}}, None, options), url, ())
    return found
