"""Pictures of badges: what a badge is for, readable at the size of a thumbnail, in the colour of its subject.

They are drawn as SVG whose text stays text; the PNG is set with fonts of our own, so that it looks alike everywhere.
"""

import asyncio
import json
from collections import OrderedDict
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from importlib.resources import files
from math import cos, radians, sin
from pathlib import Path
from typing import cast
from xml.sax.saxutils import escape as escaped

import typst

from credentials.adapters.fonts import Fonts, NotPrintable
from credentials.adapters.lettering import length, wrap
from credentials.domain.view_models import is_rtl
from openbadges.baking import NOT_XML

SIZE = 600
"""Width and height, in pixels and in user units."""

_TILE_CREDITS = 15
# Background and its lighter edge; white text on each background has a contrast of at least 7 (WCAG AAA).
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
"""Font sizes, and how many lines of that size there is room for."""
_WIDTH = 460
_FAMILY = "'Noto Serif', 'Libertinus Serif', Georgia, 'Times New Roman', serif"
_KEPT = 256


@dataclass(frozen=True)
class Motif:
    """What a picture shows. Equal motifs give the same bytes."""

    title: str
    issuer: str
    credits: int
    level: int
    subject: str
    """The subject, which gives the colour: the same for all courses of a subject."""
    is_award: bool
    year: int | None = None
    """The year of the award, in the picture of a holder's own badge."""


@dataclass
class _Line:
    text: str
    y: int
    """The vertical position of its foot."""
    size: int
    colour: str
    bold: bool = False
    is_rtl: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_rtl = is_rtl(self.text)


class Pictures:
    """Draws the pictures, and caches them."""

    def __init__(self, fonts: Fonts) -> None:
        self._fonts = fonts
        self._kept: OrderedDict[Motif, bytes] = OrderedDict()

    async def png(self, motif: Motif) -> bytes:
        """Return the picture as PNG, drawn off the event loop in some hundredths of a second, then cached. Raises
        NotPrintable."""
        if motif not in self._kept:
            self._kept[motif] = await asyncio.to_thread(render, motif, self._fonts)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(motif)
        return self._kept[motif]


def svg(motif: Motif) -> str:
    """Return the picture as SVG. Its words are in `title` and `desc` too, for screen readers."""
    return _drawn(motif, "".join(map(_as_svg, _lines(motif))))


def render(motif: Motif, fonts: Fonts) -> bytes:
    """Return the picture as PNG, with fonts of our own alone. Raises NotPrintable.

    Typst sets its text: the renderer of SVG leaves out ligatures, and all scripts but one, where a font lacks them.
    """
    lines = _lines(motif)
    lacked = fonts.lacked("".join(line.text for line in lines))
    if lacked:
        raise NotPrintable(lacked)
    picture = {"size": SIZE, "width": _WIDTH, "drawing": _drawn(motif, ""), "lines": [asdict(line) for line in lines]}
    layouts = Path(str(files("credentials") / "paper"))
    compiler = typst.Compiler(layouts / "picture.typ", root=layouts, font_paths=fonts.loaded)
    drawn = compiler.compile(
        format="png", ppi=72, sys_inputs={"picture": json.dumps(picture), "families": fonts.as_json}
    )
    return cast("bytes", drawn)


def _drawn(motif: Motif, text: str) -> str:
    ground, edge = _colours(motif)
    box = f'viewBox="0 0 {SIZE} {SIZE}" width="{SIZE}" height="{SIZE}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img" aria-labelledby="t d">',
        f'<title id="t">{escape(motif.title)}</title>',
        f'<desc id="d">{escape(", ".join([*_facts(motif), motif.issuer]))}</desc>',
        f'<rect width="{SIZE}" height="{SIZE}" rx="64" fill="{ground}"/>',
        f'<rect x="18" y="18" width="564" height="564" rx="50" fill="none" stroke="{edge}" stroke-width="3"/>',
        *(_laurels() if motif.is_award else ()),
        _tiles(motif.credits, edge, room=0 if motif.is_award else 4),
        f'<rect x="120" y="500" width="360" height="50" rx="25" fill="{_PALE}"/>',
        text,
        "</svg>",
    ]
    return "".join(parts)


def _lines(motif: Motif) -> list[_Line]:
    ground, _ = _colours(motif)
    size, lines = fit(motif.title)
    step = size * 1.22
    first = 322 - step * (len(lines) - 1) / 2 + size * 0.35
    return [
        *(_Line(line, round(first + step * number), size, "#ffffff", bold=True) for number, line in enumerate(lines)),
        _Line(motif.issuer, 470, 24, "#ffffff"),
        _Line(" · ".join(_facts(motif)), 533, 23, ground, bold=True),
    ]


def _colours(motif: Motif) -> tuple[str, str]:
    return _COLOURS[int.from_bytes(sha256(motif.subject.encode()).digest()[:4], "big") % len(_COLOURS)]


def _facts(motif: Motif) -> list[str]:
    return [f"{motif.credits} credits", f"Level {motif.level}", *([str(motif.year)] if motif.year else [])]


def _as_svg(line: _Line) -> str:
    limit = (
        f' textLength="{_WIDTH}" lengthAdjust="spacingAndGlyphs"' if length(line.text) * line.size > _WIDTH + 40 else ""
    )
    weight = ' font-weight="700"' if line.bold else ""
    direction = ' direction="rtl"' if line.is_rtl else ""
    return (
        f'<text x="300" y="{line.y}" text-anchor="middle" font-family="{_FAMILY}" font-size="{line.size}"{weight}'
        f'{direction}{limit} fill="{line.colour}">{escape(line.text)}</text>'
    )


def escape(text: str) -> str:
    """Return a text escaped for XML, without characters that XML cannot hold."""
    return escaped(NOT_XML.sub("", text))


def fit(title: str) -> tuple[int, list[str]]:
    """Return the largest font size in which a title fits, and its lines; where none fits, it is cut with an
    ellipsis."""
    for size, most in _STEPS:
        lines = wrap(title, _WIDTH / size)
        if len(lines) <= most:
            return size, lines
    size, most = _STEPS[-1]
    lines = wrap(title, _WIDTH / size)[:most]
    lines[-1] = lines[-1][:-1].rstrip() + "…"
    return size, lines


def _tiles(credits_: int, edge: str, *, room: int) -> str:
    """Return a tile for each course's worth of credit, in rows of four, and outlines for as many as there is room
    for."""
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
    """Return two branches about the tiles, for an award."""
    leaves: list[str] = []
    for number in range(5):
        bend = 62 - 24 * number  # degrees along a circle about the tiles
        x, y = 145 * cos(radians(bend)), 90 * sin(radians(bend))
        for side in (-1, 1):
            turn = side * (bend / 2 + 12)
            leaves.append(
                f'<ellipse cx="{300 + side * x:.1f}" cy="{126 + y:.1f}" rx="7" ry="16" fill="{_PALE}" '
                f'transform="rotate({turn:.0f} {300 + side * x:.1f} {126 + y:.1f})"/>'
            )
    return leaves
