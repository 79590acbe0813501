"""Ornaments for documents, as on bank notes: closed curves from formulas, as SVG. All measures are millimetres."""

from collections.abc import Callable, Iterable
from functools import cache
from math import cos, pi, sin

_GOLD, _PALE, _INK = "#8a6a1f", "#c9b37a", "#1d2440"
_BAND, _CORNER, _PLAIT = 5.0, 6.0, 11.0

Point = tuple[float, float]


@cache
def seal(radius: float = 19.0) -> str:
    """Return two rosettes about an empty disc, in which the issuer's initials are set."""
    middle = (radius, radius)
    parts = [
        _rosette(middle, radius, petals=24, depth=0.09),
        _rosette(middle, radius * 0.74, petals=16, depth=0.16),
        _ring(middle, radius * 0.47, 0.25, _GOLD),
        _ring(middle, radius * 0.43, 0.1, _GOLD),
    ]
    return _drawing(2 * radius, 2 * radius, parts)


@cache
def frame(width: float, height: float, inset: float = 8.0) -> str:
    """Return a plaited band along the edges of a page, with a rosette in each corner, and two rules within."""
    middle = inset + _BAND / 2
    across = _band(inset + _CORNER, width - inset - _CORNER)
    along = _band(inset + _CORNER, height - inset - _CORNER)
    parts: list[str] = []
    for phase in range(4):
        strands = [(at, sway(phase)) for at, sway in across]
        parts += [_path(((x, edge + sway) for x, sway in strands), _PALE) for edge in (middle, height - middle)]
        strands = [(at, sway(phase)) for at, sway in along]
        parts += [_path(((edge + sway, y) for y, sway in strands), _PALE) for edge in (middle, width - middle)]
    for x in (middle, width - middle):
        for y in (middle, height - middle):
            parts += [_ring((x, y), _CORNER, 0, _GOLD), _rosette((x, y), _CORNER, petals=12, depth=0.2)]
    for distance, stroke in ((inset + _BAND + 1.6, 0.35), (inset + _BAND + 2.6, 0.1)):
        size = f'width="{width - 2 * distance:.2f}" height="{height - 2 * distance:.2f}"'
        parts.append(
            f'<rect x="{distance}" y="{distance}" {size} fill="none" stroke="{_INK}" stroke-width="{stroke}"/>'
        )
    return _drawing(width, height, parts)


def _band(start: float, end: float) -> list[tuple[float, Callable[[int], float]]]:
    """Return the places along a band of whole plaits, each with a function from a strand's phase to its offset
    there."""
    plaits = round((end - start) / _PLAIT)
    steps = 12 * plaits

    def sway_at(step: int) -> Callable[[int], float]:
        return lambda phase: _BAND / 2 * sin(2 * pi * plaits * step / steps + phase * pi / 2)

    return [(start + (end - start) * step / steps, sway_at(step)) for step in range(steps + 1)]


def _rosette(middle: Point, radius: float, *, petals: int, depth: float) -> str:
    steps = 12 * petals

    def at(step: int, phase: float) -> Point:
        turn = 2 * pi * step / steps
        r = radius * (1 - depth + depth * cos(petals * turn + phase))
        return middle[0] + r * cos(turn), middle[1] + r * sin(turn)

    curves = (_path((at(step, n * pi / 3) for step in range(steps)), _GOLD, closed=True) for n in range(6))
    return "".join(curves)


def _path(points: Iterable[Point], colour: str, *, closed: bool = False) -> str:
    line = "L".join(f"{x:.2f} {y:.2f}" for x, y in points)
    return f'<path d="M{line}{"Z" if closed else ""}" fill="none" stroke="{colour}" stroke-width=".09"/>'


def _ring(middle: Point, radius: float, stroke: float, colour: str) -> str:
    """Return a ring, white inside so that it covers what is drawn before it."""
    at = f'cx="{middle[0]:.2f}" cy="{middle[1]:.2f}" r="{radius:.2f}"'
    return f'<circle {at} fill="#fff" stroke="{colour}" stroke-width="{stroke}"/>'


def _drawing(width: float, height: float, parts: Iterable[str]) -> str:
    size = f'width="{width}mm" height="{height}mm" viewBox="0 0 {width} {height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(parts)}</svg>'
