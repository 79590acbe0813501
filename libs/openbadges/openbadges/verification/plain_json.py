"""JSON from strangers: refused where two readers could understand it differently, or one could be overloaded by it."""

import json
import math
import re
from collections.abc import Iterable
from typing import Any, NoReturn, cast

from openbadges.errors import Invalid, Malformed
from openbadges.verification.limits import Limits

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_OPENING, _CLOSING = b"[{", b"]}"


class NotJson(Malformed):
    """Not JSON, or JSON that readers understand differently: a member given twice, a number out of range."""


class TooDeep(Invalid):
    """Nested deeper than any credential is."""

    remedy = "Ask whoever issued the document for a plainer one."


class TooManyValues(Invalid):
    """More members than any credential has."""

    remedy = "Ask whoever issued the document for a smaller one."


class ControlCharacters(Invalid):
    """Canonicalisers differ on control characters and lone surrogates."""

    remedy = "Ask whoever issued the document for one without them."


def read_object(raw: bytes, limits: Limits) -> dict[str, Any]:  # Any: JSON
    """Return the object in a JSON text. Raises NotJson, TooDeep, TooManyValues, ControlCharacters."""
    _check_depth(raw, limits.depth)
    try:
        value: object = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_without_twins, parse_constant=_refuse, parse_int=_small
        )
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise NotJson("this is not JSON in UTF-8") from error
    if not isinstance(value, dict):
        raise NotJson("a credential is a JSON object")
    _check_values(cast("object", value), limits.values)
    return cast("dict[str, Any]", value)  # Any: JSON


def _check_depth(raw: bytes, most: int) -> None:
    """Raise TooDeep before parsing, which would recurse as deep."""
    depth, quoted, escaped = 0, False, False
    for byte in raw:
        if quoted:
            if escaped:
                escaped = False
            elif byte == 0x5C:  # noqa: PLR2004 - a backslash
                escaped = True
            elif byte == 0x22:  # noqa: PLR2004 - a quote
                quoted = False
        elif byte == 0x22:  # noqa: PLR2004 - a quote
            quoted = True
        elif byte in _OPENING:
            depth += 1
            if depth > most:
                raise TooDeep(f"the document is nested more than {most} deep")
        elif byte in _CLOSING:
            depth -= 1


def _check_values(document: object, most: int) -> None:
    waiting, seen = [document], 0
    while waiting:
        value = waiting.pop()
        seen += 1
        if seen > most:
            raise TooManyValues(f"the document has more than {most} values")
        if isinstance(value, dict):
            members = cast("dict[str, object]", value)
            for name in members:
                _check_text(name)
            waiting.extend(members.values())
        elif isinstance(value, list):
            waiting.extend(cast("list[object]", value))
        elif isinstance(value, str):
            _check_text(value)
        elif isinstance(value, float) and not math.isfinite(float(f"{value:.15E}")):  # as RDF writes it
            raise NotJson("a number is out of range")


def _check_text(value: str) -> None:
    if _CONTROL.search(value):
        raise ControlCharacters("control characters are not allowed in a credential")


def _without_twins(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    members: dict[str, object] = {}
    for name, value in pairs:
        if name in members:
            raise NotJson(f"the member {name[:80]!r} is given twice")
        members[name] = value
    return members


def _refuse(name: str) -> NoReturn:
    raise NotJson(f"{name} is no JSON number")


def _small(digits: str) -> int:
    """Return an integer. Raises NotJson beyond 2^53, where readers disagree; thousands of digits would take long to
    read."""
    if len(digits) > 17 or abs(int(digits)) > 2**53:  # noqa: PLR2004 - sixteen digits and a sign
        raise NotJson("a number is out of range")
    return int(digits)
