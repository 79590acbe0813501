"""Every change that can be made to a document."""

from collections.abc import Iterator
from copy import deepcopy

from .badges import DID
from .forged import (
    THIN,
    at,
    known_terms,
)

_POOL = [
    *(f"urn:x:{THIN}y", "_:a", "//badges.example.ac.uk/x", "relative", "urn:x:y", "https://x\n", "", " "),
    *("2099-01-01T00:00:00Z", "true", "15", "name", "Ada", DID, "OpenBadgeCredential"),
    *(None, True, False, 0, 15, 15.0, 1e40, [], {}, [None], [[]], {"id": "urn:x:y"}, {"id": f"x:{THIN}"}),
]
_NOTHING = {"@value": None, "@language": "en"}
_VALUE_OBJECTS = [
    *(_NOTHING, {"@value": None}, {"@value": "x"}, {"@value": "x", "@language": ""}, {"@value": "", "@language": "en"}),
    *({"@value": "x", "@language": "EN-gb"}, {"@value": "x", "@language": "e n"}, {"@value": "x", "@language": None}),
    *({"@value": "x", "@direction": "ltr"}, {"@value": True, "@language": "en"}, {"@value": ["x"], "@language": "en"}),
    *({"@value": "true", "@type": "http://www.w3.org/2001/XMLSchema#boolean"}, {"@value": {}, "@type": "@json"}),
    *({"@language": "en"}, {"@set": []}, {"@list": []}, {"@id": None}, {"@type": []}, {"@graph": []}, {"@none": "x"}),
]
_TERMS = [
    *("id", "type", "name", "issuer", "validUntil", "validFrom", "credentialSubject", "credentialStatus", "evidence"),
    *("refreshService", "achievement", "identifier", "identityHash", "result", "value", "partial", "proof", "honours"),
    *("creditsEarned", "hashed", "identityType", "endorsement", "awardedDate", "description", "https://x/y", "@graph"),
]
_MARKS = [" ", THIN, "\t", "\u3000", "\u0085", "\u200b", "2", '"']
_KEYWORDS = ["@id", "@type", "@value", "@set", "@list", "@graph", "@index", "@nest", "@included", "@reverse"]
CHANGES = [
    *("replace", "add", "drop", "wrap", "repeat", "reverse", "copy", "move", "space", "list", "rename"),
    *("pad", "spell", "spell beside", "name", "say", "say in", "shuffle"),
]
_PREFIXES = {
    "obi:": "https://purl.imsglobal.org/spec/vc/ob/vocab.html#",
    "cred:": "https://www.w3.org/2018/credentials#",
    "sec:": "https://w3id.org/security#",
    "clr:": "https://purl.imsglobal.org/spec/vc/clr/vocab.html#",
}


def places(value: object, path: tuple = ()) -> Iterator[tuple]:
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in entries:
        yield from places(member, (*path, key))


def spelled(term: object, other: int) -> list[str]:
    """Other names of a term: its IRIs and what the contexts' prefixes make of them."""
    iris = sorted(iri for iri, _ in known_terms().get(str(term), ()))
    short = [prefix + iri.removeprefix(start) for iri in iris for prefix, start in _PREFIXES.items() if start in iri]
    found = [*iris, *short]
    return found[other % len(found) :] + found[: other % len(found)] if found else []


def change(document: dict, how: str, one: int, other: int) -> None:  # noqa: C901, PLR0912, PLR0915 - a list of ways
    known = list(places(document))[1:]
    if not known:
        return
    path = known[one % len(known)]
    parent, key, value = at(document, path[:-1]), path[-1], at(document, path)
    containers = [status_entry for status_entry in ((), *known) if isinstance(at(document, status_entry), dict)]
    target, term = at(document, containers[other % len(containers)]), _TERMS[other % len(_TERMS)]
    match how:
        case "replace":
            parent[key] = deepcopy(_POOL[other % len(_POOL)])
        case "add":
            target[_TERMS[one % len(_TERMS)]] = deepcopy(_POOL[other % len(_POOL)])
        case "drop":
            del parent[key]
        case "wrap":
            parent[key] = {"id": "urn:x:w", term: value}
        case "list":
            parent[key] = [value]
        case "repeat" if isinstance(parent, list):
            parent.append(deepcopy(value))
        case "reverse" if isinstance(value, list):
            value.reverse()
        case "rename" if isinstance(key, str):
            parent[key + _MARKS[other % len(_MARKS)]] = parent.pop(key)
        case "copy":
            target[term] = deepcopy(value)
        case "move":
            del parent[key]
            target[key if isinstance(key, str) else term] = value
        case "pad":
            entries = value if isinstance(value, list) else [value]
            padding = [deepcopy(_VALUE_OBJECTS[other % len(_VALUE_OBJECTS)])] * (50 if one % 2 else 1)
            parent[key] = [*padding, *entries] if other % 3 else [*entries, *padding]
        case "spell" if isinstance(value, str) and (names := spelled(value, other)):
            parent[key] = names[0]
        case "spell beside" if isinstance(value, str) and (names := spelled(value, other)):
            if isinstance(parent, list):
                parent.insert(other % (len(parent) + 1), names[0])
            else:
                parent[key] = [names[0], value] if other % 2 else [value, names[0]]
        case "name" if isinstance(key, str) and (names := [*spelled(key, other), *_KEYWORDS]):
            parent[names[0] if other % 2 else names[other % len(names)]] = parent.pop(key)
        case "say":
            parent[key] = deepcopy(_VALUE_OBJECTS[other % len(_VALUE_OBJECTS)]) | {"@value": value}
        case "say in":
            parent[key] = {_KEYWORDS[other % len(_KEYWORDS)]: value}
        case "shuffle" if isinstance(value, list):
            value[:] = value[other % (len(value) or 1) :] + value[: other % (len(value) or 1)]
        case "space" if isinstance(value, str):
            cut = other % (len(value) + 1)
            parent[key] = value[:cut] + THIN + value[cut:]
        case _:
            pass
