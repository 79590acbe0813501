"""Canonical templates: sign many like badges with JSON-LD once per achievement, then text.

PyLD spends some ten milliseconds a badge, nearly all of it on expanding what is the same in every badge of one
achievement. A template runs PyLD once with markers in place of what differs, keeps the resulting quads as text, and for
each badge fills in the values, hashes the few unnamed parts that changed, labels and sorts: the same bytes (RDFC-1.0
§4, first-degree hashes). Where two unnamed parts hash alike, PyLD canonicalises the badge. The first badge of each
template and a sample of the rest are compared with PyLD byte by byte.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, cast
from uuid import uuid4

from pyld import nquads

from openbadges.json_ld import canonicalise, dataset_of
from openbadges.keys import Signer
from openbadges.proofs import Document, attach, hashed, proof_options
from openbadges.signable import NotSignable, instant, iri, text

Values = Mapping[str, str]
Build = Callable[[Values], Document]

_serialise = cast("Callable[[Mapping[str, Any]], str]", nquads.serialize_nquad)  # PyLD has no stubs
_SAMPLE = 4096
_PLAIN = re.compile(r'[^\x00-\x1f\x7f"\\]*')
_NODE = re.compile("\0_:[A-Za-z0-9]+\0")


class TemplateError(Exception):
    """A template gave other bytes than PyLD, which is a fault of ours. Nothing was signed."""


@dataclass
class _Part:
    """An unnamed node: its quads as they enter its first-degree hash, filled or with slots."""

    lines: list[str] = field(default_factory=list)
    hash: str | None = None


class CanonicalTemplate:
    """The canonical form of a document as a function of the values that differ."""

    def __init__(self, build: Build, slots: tuple[str, ...]) -> None:
        self._build = build
        self._literal_slots: set[str] = set()
        self._iri_slots: set[str] = set()
        self._slots = slots
        self._open: list[str] = []
        self._parts: dict[str, _Part] = {}
        self._orders: dict[tuple[str, ...], tuple[list[str], str]] = {}
        self._compile()
        self._made = 0

    def canonical(self, values: Values) -> str:
        """Return the canonical N-Quads of the document with these values. Raises TemplateError, NotSignable."""
        filled = self._escape(values)
        canonical = self._fill(filled)
        if canonical is None:
            return canonicalise(self._build(values))
        if self._made % _SAMPLE == 0 and canonical != canonicalise(self._build(values)):
            raise TemplateError("a compiled template and PyLD disagree")
        self._made += 1
        return canonical

    def _compile(self) -> None:
        secret = uuid4().hex  # so that no text of a course is taken for a marker
        markers = {slot: f"urn:slot:{secret}:{slot}" for slot in self._slots}
        for graph, quads in dataset_of(self._build(markers)).items():
            for quad in quads:
                self._add(quad, graph, markers)
        for part in self._parts.values():
            if not any(map(_has_slot, part.lines)):
                part.hash = _hash([line % {} for line in part.lines])

    def _add(self, quad: dict[str, Any], graph: str, markers: Mapping[str, str]) -> None:  # Any: PyLD's quads
        if graph != "@default":
            name_type = "blank node" if graph.startswith("_:") else "IRI"
            quad = {**quad, "name": {"type": name_type, "value": graph}}
        nodes = [name for name in ("subject", "object", "name") if name in quad and _is_blank(quad[name])]
        for slot, marker in markers.items():
            for name in ("subject", "object"):
                if quad[name]["value"] == marker:
                    kind = self._literal_slots if quad[name]["type"] == "literal" else self._iri_slots
                    kind.add(slot)
        self._open.append(self._line(quad, nodes, {name: f"\0{quad[name]['value']}\0" for name in nodes}, markers))
        for own in {quad[name]["value"] for name in nodes}:
            labels = {name: "_:a" if quad[name]["value"] == own else "_:z" for name in nodes}
            self._parts.setdefault(own, _Part()).lines.append(self._line(quad, nodes, labels, markers))

    def _line(
        self,
        quad: dict[str, Any],  # Any: PyLD's quads
        nodes: list[str],
        labels: Mapping[str, str],
        markers: Mapping[str, str],
    ) -> str:
        relabelled = {**quad, **{name: {**quad[name], "value": labels[name]} for name in nodes}}
        line = _serialise(relabelled).replace("%", "%%")
        for slot, marker in markers.items():
            line = line.replace(f"<{marker}>", f"<%({slot})s>").replace(f'"{marker}"', f'"%({slot})s"')
        if any(marker in line for marker in markers.values()):
            raise TemplateError("a value stands where a template cannot fill it in")
        return line

    def _fill(self, values: Values) -> str | None:
        hashes = {
            node: part.hash or _hash([line % values for line in part.lines]) for node, part in self._parts.items()
        }
        if len(set(hashes.values())) < len(hashes):
            return None
        order = tuple(sorted(hashes, key=hashes.__getitem__))
        fixed, to_fill = self._orders.get(order) or self._label(order)
        lines = fixed + (to_fill % values).split("\n")  # no value holds a line end: they are escaped
        lines.sort()
        lines.append("")
        return "\n".join(lines)

    def _label(self, order: tuple[str, ...]) -> tuple[list[str], str]:
        """Return the lines under these labels: those without slots, sorted, and the others as one text to fill."""
        labels = {f"\0{node}\0": f"_:c14n{number}" for number, node in enumerate(order)}
        lines = [_NODE.sub(lambda found: labels[found.group()], line).rstrip("\n") for line in self._open]
        to_fill = "\n".join(line for line in lines if _has_slot(line))
        fixed = sorted(line % {} for line in lines if not _has_slot(line))
        if len(self._orders) >= 1024:  # noqa: PLR2004 - a bound on memory; the order hardly ever differs
            self._orders.clear()
        self._orders[order] = (fixed, to_fill)
        return fixed, to_fill

    def _escape(self, values: Values) -> dict[str, str]:
        filled: dict[str, str] = {}
        for slot in self._slots:
            value = values[slot]
            if slot in self._iri_slots:
                filled[slot] = iri(value)
            else:
                filled[slot] = value if _PLAIN.fullmatch(value) else _literal(text(value))
        if self._iri_slots & self._literal_slots:
            raise NotSignable("a value cannot be both an address and a text")
        return filled


class BadgeSigner:
    """Signs the badges of one achievement with one key."""

    def __init__(self, build: Build, slots: tuple[str, ...], signer: Signer) -> None:
        self._build = build
        self._signer = signer
        self._document = CanonicalTemplate(build, slots)
        context = build(dict.fromkeys(slots, ""))["@context"]
        self._options = CanonicalTemplate(
            lambda values: {
                **proof_options(signer.verification_method, values["created"]),
                "@context": context,
            },
            ("created",),
        )
        self._created = ("", b"")

    def sign(self, values: Values, now: datetime) -> Document:
        """Return the signed badge with these values. Raises TemplateError, NotSignable."""
        created = instant(now)
        if created != self._created[0]:  # a batch is signed at one instant
            self._created = (created, hashed(self._options.canonical({"created": created})))
        signature = self._signer.sign(self._created[1] + hashed(self._document.canonical(values)))
        return attach(self._build(values), proof_options(self._signer.verification_method, created), signature)


def _has_slot(line: str) -> bool:
    return "%(" in line.replace("%%", "")


def _is_blank(component: Mapping[str, str]) -> bool:
    return component["type"] == "blank node"


def _literal(value: str) -> str:
    return (
        value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r").replace('"', '\\"')
    )


def _hash(lines: list[str]) -> str:
    return sha256("".join(sorted(lines)).encode()).hexdigest()
