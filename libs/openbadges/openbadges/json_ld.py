"""JSON-LD by PyLD, with the pinned contexts alone.

What is signed is the RDF of a document, not its JSON: a member whose term no context defines vanishes before hashing.
`check_terms` refuses such a document, which PyLD alone would accept.
"""

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, cast

from pyld import jsonld
from pyld.canon import URDNA2015

from openbadges.contexts import PINNED, UnknownContext, load
from openbadges.coverage import UNDEFINED, NotCanonical, Statements, check_spelling, uncovered
from openbadges.errors import Invalid, TooLarge
from openbadges.meaning import meaning_of

Document = Mapping[str, Any]  # Any: JSON
Dataset = dict[str, list[dict[str, Any]]]  # Any: PyLD's own quads
Hash = Callable[..., Any]  # Any: hashlib's

MOST_BYTES = 64 * 1024
_MOST_CONTEXTS = 8
_MOST_ALIKE = 5
_MOST_STEPS = 500

# PyLD has no type stubs: the types of what it takes and returns are stated here, once.
_to_rdf = cast("Callable[[object, object], Dataset]", jsonld.to_rdf)
_expand = cast("Callable[[Document, object, Callable[[object], None]], object]", jsonld.expand)
_OPTIONS: dict[str, object] = {"base": None}
"""Without a base a relative address stays relative, and is refused; with PyLD's own it would become absolute."""


def canonicalise(document: Document) -> str:
    """Return the canonical N-Quads of a document (RDFC-1.0). Raises UnknownContext, NotCanonical."""
    return _Bounded().canonical(dataset_of(document))


def dataset_of(document: Document) -> Dataset:
    """Return the RDF of a document as PyLD's dataset: graph name -> quads. Raises UnknownContext, NotCanonical."""
    return _dataset(_expanded(document))


class Statement:
    """A document that passed `check_terms`: what it says and what is signed of it, from one expansion."""

    def __init__(self, document: Document) -> None:
        """Check and expand the document. Raises UnknownContext, UndefinedTerms, NotCanonical."""
        self._expanded = _expanded(document)
        self.says = meaning_of(self._expanded)

    def digest(self, hash_: Hash) -> bytes:
        """Return the hash of the canonical N-Quads, whose blank nodes are labelled by the same hash. Raises
        NotCanonical."""
        canonical = _Bounded(hash_).canonical(_dataset(self._expanded))
        return hash_(canonical.encode()).digest()


def _dataset(expanded: object) -> Dataset:
    try:
        dataset = _to_rdf(expanded, {"documentLoader": load, **_OPTIONS})
    except jsonld.JsonLdError as error:
        raise _refusal(error) from error
    if sum(map(len, dataset.values())) != len(Statements(expanded)):
        raise NotCanonical("not everything the document says can be signed")
    return dataset


def check_terms(document: Document, *, most_bytes: int = MOST_BYTES) -> None:
    """Raise UndefinedTerms unless every member and type is a term of the contexts and every id an absolute IRI.

    The same statement spelled otherwise (full IRIs, keywords, in another place) is refused, too, since whoever reads
    the JSON would not see it there. Raises TooLarge, UnknownContext, Ambiguous, NotCanonical.
    """
    size = len(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8"))
    if size > most_bytes:
        raise TooLarge(f"a credential has at most {most_bytes} bytes")
    check_spelling(document, _contexts)
    # Terms that the contexts do not define fall into the vocabulary added here, and are found by its name.
    expanded = _expanded({**document, "@context": [*_contexts(document), {"@vocab": UNDEFINED}]})
    found = set(_undefined(expanded)) or set(Statements(expanded).uncovered)
    if found:
        raise uncovered(found)


def _expanded(document: Document) -> object:
    """Expand a document. Raises UndefinedTerms for a member that is left out, as it is where no context holds."""
    dropped: list[object] = []
    try:
        expanded = _expand(document, {"documentLoader": load, **_OPTIONS}, dropped.append)
    except jsonld.JsonLdError as error:
        raise _refusal(error) from error
    if dropped:
        raise uncovered(map(str, dropped))
    return expanded


def _contexts(document: Document) -> list[str]:
    contexts = document.get("@context")
    if isinstance(contexts, str):
        contexts = [contexts]
    if not isinstance(contexts, list):
        raise UnknownContext("@context must be a list of known addresses")
    entries = cast("list[object]", contexts)
    if len(entries) > _MOST_CONTEXTS:
        raise NotCanonical(f"the document names more than {_MOST_CONTEXTS} contexts")
    for entry in entries:
        if not isinstance(entry, str):
            raise UnknownContext("the document brings a context of its own, which is not known here")
        if entry not in PINNED:
            raise UnknownContext(
                f"the document names a context that is not known here: {entry[:200]}", context=entry[:200]
            )
    return [str(entry) for entry in entries]


def _undefined(value: object) -> list[str]:
    if isinstance(value, list):
        return [name for item in cast("list[object]", value) for name in _undefined(item)]
    if isinstance(value, Mapping):
        members = cast("Mapping[str, object]", value)
        return [name for key, member in members.items() for name in [*_marked(key), *_undefined(member)]]
    return _marked(value) if isinstance(value, str) else []


def _marked(value: str) -> list[str]:
    return [value.removeprefix(UNDEFINED)] if value.startswith(UNDEFINED) else []


def _refusal(error: jsonld.JsonLdError) -> Invalid:
    cause: object = error
    while isinstance(cause, BaseException):
        if isinstance(cause, UnknownContext):
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
    said = error.args[0] if error.args else type(error).__name__  # the other arguments of a JsonLdError hold the input
    return NotCanonical(f"not a JSON-LD document: {str(said)[:200]}")


def _escaped(nquads: list[str]) -> list[str]:
    """Return N-Quads in canonical form (RDFC-1.0, section 5.2), since PyLD does not escape U+007F."""
    return sorted(line.replace("\x7f", "\\u007F") for line in nquads)


class _Bounded(URDNA2015):
    """Canonicalises, but refuses documents with many like unnamed parts: distinguishing those takes factorial time."""

    def __init__(self, hash_: Hash = sha256) -> None:
        super().__init__()
        self.steps = 0
        self._hash = hash_

    def create_hash(self) -> Any:  # Any: hashlib's
        return self._hash()

    def canonical(self, dataset: Dataset) -> str:
        main = cast("Callable[[Dataset, object], str]", self.main)
        quads = main(dataset, {"format": "application/n-quads"}).split("\n")
        return "\n".join([*_escaped(quads[:-1]), ""])

    def hash_nquads(self, nquads: list[str]) -> str:
        return super().hash_nquads(_escaped(nquads))  # pyright: ignore[reportUnknownMemberType] - PyLD has no stubs

    def create_hash_to_related(self, id_: str, issuer: object) -> dict[str, list[str]]:
        related = cast("dict[str, list[str]]", super().create_hash_to_related(id_, issuer))  # pyright: ignore[reportUnknownMemberType] - PyLD has no stubs
        self.steps += 1
        if self.steps > _MOST_STEPS or any(len(alike) > _MOST_ALIKE for alike in related.values()):
            raise NotCanonical("too many parts of the document look alike")
        return related
