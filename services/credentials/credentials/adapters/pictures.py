"""The picture of a badge: what it is for, readable at the size of a thumb, in the colour of its subject.

Drawn as SVG whose text stays text; PNG is rendered from it with fonts of our own, so that it looks alike everywhere.
"""

import asyncio
import unicodedata
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from math import cos, radians, sin
from xml.sax.saxutils import escape

import resvg_py

from credentials.adapters.fonts import font_files

SIZE = 600
"""Both ways, in pixels and in user units."""

_TILE_CREDITS = 15
# Ground and its lighter edge; on each ground white text has a contrast of at least 7 (WCAG AAA).
_COLOURS = (
    ("#1f3a6e", "#6d8fd0"),
    ("#5b2a6e", "#b184c9"),
    ("#0f4f4b", "#5bb0a9"),
    ("#7a2338", "#d98799"),
    ("#274b1d", "#86b877"),
    ("#6b3a12", "#cf9a68"),
    ("#123f5e", "#64a8d3"),
    ("#4a3413", "#c0a060"),
    ("#3b2f75", "#9a8ddd"),
    ("#2d4352", "#8fb0c3"),
    ("#6a1f57", "#cf82bb"),
    ("#174a35", "#6bbd97"),
)
_PALE = "#f3e9cf"
_STEPS = ((56, 2), (48, 3), (41, 3), (35, 4), (30, 5), (25, 6))
"""Sizes of letters, and how many lines of that size there is room for."""
_WIDTH = 460
_FAMILY = "'Noto Serif', 'Libertinus Serif', Georgia, 'Times New Roman', serif"
_KEPT = 256
_NARROW, _WIDE = set("iljtfrI.,:;'!|()[]-"), set("mwMWQO@%&")


@dataclass(frozen=True)
class Motif:
    """What a picture shows. Those of equal motifs are the same, byte for byte."""

    title: str
    issuer: str
    credits: int
    level: int
    subject: str
    """Gives the colour: the same for all courses of a subject."""
    is_award: bool
    year: int | None = None
    """Of the award, in the picture of a holder's own badge."""


class Pictures:
    def __init__(self) -> None:
        self._kept: OrderedDict[Motif, bytes] = OrderedDict()

    async def png(self, motif: Motif) -> bytes:
        """Some hundredths of a second of drawing, off the loop; then kept."""
        if motif not in self._kept:
            self._kept[motif] = await asyncio.to_thread(render, svg(motif))
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(motif)
        return self._kept[motif]


def svg(motif: Motif) -> str:
    """Its words are in `title` and `desc` too, for whoever hears it."""
    ground, edge = _COLOURS[int.from_bytes(sha256(motif.subject.encode()).digest()[:4], "big") % len(_COLOURS)]
    size, lines = fit(motif.title)
    facts = [f"{motif.credits} credits", f"Level {motif.level}", *([str(motif.year)] if motif.year else [])]
    box = f'viewBox="0 0 {SIZE} {SIZE}" width="{SIZE}" height="{SIZE}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img" aria-labelledby="t d">',
        f'<title id="t">{escape(motif.title)}</title><desc id="d">{escape(", ".join([*facts, motif.issuer]))}</desc>',
        f'<rect width="{SIZE}" height="{SIZE}" rx="64" fill="{ground}"/>',
        f'<rect x="18" y="18" width="564" height="564" rx="50" fill="none" stroke="{edge}" stroke-width="3"/>',
        *(_laurels() if motif.is_award else ()),
        _tiles(motif.credits, edge, room=0 if motif.is_award else 4),
        *_title(lines, size),
        _line(motif.issuer, 470, 24, "#ffffff", spread=1),
        f'<rect x="120" y="500" width="360" height="50" rx="25" fill="{_PALE}"/>',
        _line(" · ".join(facts), 533, 23, ground, bold=True),
        "</svg>",
    ]
    return "".join(parts)


def render(drawing: str) -> bytes:
    """PNG, with fonts of our own alone."""
    return resvg_py.svg_to_bytes(
        svg_string=drawing,
        skip_system_fonts=True,
        font_files=list(font_files()),
        font_family="Noto Serif",
        serif_family="Noto Serif",
    )


def fit(title: str) -> tuple[int, list[str]]:
    """The largest letters in which a title fits; one that fits in none is cut, and ends in an ellipsis."""
    for size, most in _STEPS:
        lines = _wrap(title, _WIDTH / size)
        if len(lines) <= most:
            return size, lines
    size, most = _STEPS[-1]
    lines = _wrap(title, _WIDTH / size)[:most]
    lines[-1] = lines[-1][:-1].rstrip() + "…"
    return size, lines


def _wrap(title: str, room: float) -> list[str]:
    """At spaces, and within a word that is longer than a line (or in a script without spaces)."""
    lines, line = list[str](), ""
    for word in title.split():
        joined = f"{line} {word}" if line else word
        if _length(joined) <= room:
            line = joined
            continue
        if line:
            lines.append(line)
        line = ""
        for cluster in _clusters(word):
            if _length(line + cluster) > room:
                lines.append(line)
                line = ""
            line += cluster
    return [*lines, line]


def _clusters(word: str) -> list[str]:
    """Letters with their marks: never parted."""
    found: list[str] = []
    for letter in word:
        if found and (unicodedata.category(letter).startswith("M") or letter in "\u200c\u200d"):
            found[-1] += letter
        else:
            found.append(letter)
    return found


def _length(text: str) -> float:
    """In widths of an em, near enough and rather too long: no font need be asked, and any may be used."""
    return sum(map(_width, text))


def _width(letter: str) -> float:
    if unicodedata.category(letter).startswith("M"):
        return 0.0
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.0
    if letter in _NARROW or letter == " ":
        return 0.34
    if letter in _WIDE:
        return 0.92
    return 0.7 if letter.isupper() else 0.58


def _title(lines: list[str], size: int) -> list[str]:
    step = size * 1.22
    first = 322 - step * (len(lines) - 1) / 2 + size * 0.35
    return [_line(line, first + step * number, size, "#ffffff", bold=True) for number, line in enumerate(lines)]


def _line(text: str, y: float, size: int, colour: str, *, bold: bool = False, spread: int = 0) -> str:
    limit = f' textLength="{_WIDTH}" lengthAdjust="spacingAndGlyphs"' if _length(text) * size > _WIDTH + 40 else ""
    weight = ' font-weight="700"' if bold else ""
    spacing = f' letter-spacing="{spread}"' if spread else ""
    return (
        f'<text x="300" y="{y:.0f}" text-anchor="middle" font-family="{_FAMILY}" font-size="{size}"{weight}{spacing}'
        f'{limit} fill="{colour}">{escape(text)}</text>'
    )


def _tiles(credits_: int, edge: str, *, room: int) -> str:
    """One tile a course's worth of credit, in rows of four, and outlines for as many as there is room for."""
    count = max(1, min(12, round(credits_ / _TILE_CREDITS)))
    shown = max(count, room)
    rows = [min(4, shown - start) for start in range(0, shown, 4)]
    tiles: list[str] = []
    for row, width in enumerate(rows):
        for column in range(width):
            x = 300 - (width * 52 - 10) / 2 + column * 52
            y = 122 + (len(rows) - 1) * 19 - row * 38 - 14
            fill = f'fill="{_PALE if (row + column) % 2 == 0 else edge}"'
            if 4 * row + column >= count:
                fill = f'fill="none" stroke="{edge}" stroke-width="2.5" stroke-dasharray="5 4"'
            tiles.append(f'<rect x="{x:.0f}" y="{y:.0f}" width="42" height="29" rx="6" {fill}/>')
    return "".join(tiles)


def _laurels() -> list[str]:
    """Two branches about the stack, for an award."""
    leaves: list[str] = []
    for number in range(5):
        bend = 62 - 24 * number  # degrees along a circle about the stack
        x, y = 145 * cos(radians(bend)), 90 * sin(radians(bend))
        for side in (-1, 1):
            turn = side * (bend / 2 + 12)
            leaves.append(
                f'<ellipse cx="{300 + side * x:.1f}" cy="{126 + y:.1f}" rx="7" ry="16" fill="{_PALE}" '
                f'transform="rotate({turn:.0f} {300 + side * x:.1f} {126 + y:.1f})"/>'
            )
    return leaves
