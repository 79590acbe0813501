"""Documents for people, from one face each: on paper as PDF, on the screen as HTML.

Typst sets the paper: tagged PDF/UA-1 that is also PDF/A-2a, from fonts of packages alone, with the edition's own
instant as its date. So the same edition gives the same bytes on every machine with this release, and a file can be
told for ours by its hash.
"""

import asyncio
import io
import json
import re
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, cast

import segno
import typst
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from credentials.adapters import ornaments
from credentials.domain.documents import Kind
from shared.errors import Invalid, Unavailable

Face = Mapping[str, Any]  # Any: JSON

_STANDARDS: Final = ("ua-1", "a-2a")
# Each brings fonts under the SIL Open Font Licence; Libertinus, for Latin, Greek and Cyrillic, is in typst itself.
_FONTS: Final = (
    "fontpkg_noto_serif",
    "noto_cjk_sans_jp_regular",
    "pylopdf_fonts_ar",
    "pylopdf_fonts_he",
    "pylopdf_fonts_hi",
    "pylopdf_fonts_th",
)
_INK: Final = "#1d2440"
_FRAMES: Final = {Kind.PARCHMENT: (297.0, 210.0), Kind.CERTIFICATE: (210.0, 297.0)}
_MISSING: Final = re.compile(r'the text `"(.*?)"` could not be displayed')


class NotPrintable(Invalid):
    """No font here has these characters. Nothing is drawn rather than boxes in place of a name."""


class PressBusy(Unavailable):
    """More documents are asked for at once than can be set."""


class Paper:
    """Sets at most `threads` documents at once, with `waiting` more in line. Typst works outside Python's lock."""

    def __init__(self, *, threads: int = 2, waiting: int = 40) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="paper")
        self._room = threads + waiting
        self._own = threading.local()
        self._pages = Environment(
            loader=PackageLoader("credentials", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def page(self, face: Face) -> str:
        """The HTML twin: the same facts, for the screen, for print, and read aloud."""
        template = self._pages.get_template(f"document_{face['kind']}.html")
        return template.render(face=face, seal=Markup(ornaments.seal()), qr=Markup(qr_code(face["address"])))  # noqa: S704 - our own drawings

    def check_page(self, facts: Mapping[str, Any]) -> str:  # Any: the template's variables
        """What anybody who has the number of a document is told."""
        return self._pages.get_template("document_check.html").render(facts)

    async def pdf(self, face: Face, at: datetime) -> bytes:
        """The paper. Raises NotPrintable, PressBusy."""
        if self._room <= 0:
            raise PressBusy("too many documents are being set at this moment", headers={"Retry-After": "1"})
        self._room -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._set, face, at)
        finally:
            self._room += 1

    def _set(self, face: Face, at: datetime) -> bytes:
        kind = Kind(face["kind"])
        given = {"face": json.dumps({**face, "qr": qr_code(face["address"])}), "seal": ornaments.seal()}
        if kind in _FRAMES:
            given["frame"] = ornaments.frame(*_FRAMES[kind])
        try:
            file = self._compiler(kind).compile(
                format="pdf", pdf_standards=list(_STANDARDS), sys_inputs=given, timestamp=int(at.timestamp())
            )
        except typst.TypstError as error:
            missing = sorted(set(_MISSING.findall(f"{error.message} {error.diagnostic}")))
            if not missing:
                raise
            raise NotPrintable("no font here has some of the characters", characters=missing[:20]) from error
        return cast("bytes", file)

    def _compiler(self, kind: Kind) -> typst.Compiler:
        """One a thread and kind: a compiler serves one call at a time, and remembers what it has laid out before."""
        compilers: dict[Kind, typst.Compiler] = vars(self._own).setdefault("compilers", {})
        if kind not in compilers:
            layouts = Path(str(files("credentials") / "paper"))
            compilers[kind] = typst.Compiler(
                layouts / f"{kind}.typ", root=layouts, font_paths=_fonts(), ignore_system_fonts=True
            )
        return compilers[kind]


def qr_code(address: str) -> str:
    """As SVG; it stays readable with an eighth of it covered."""
    drawn = io.BytesIO()
    code = segno.make(address, error="m", micro=False)
    code.save(drawn, kind="svg", border=0, dark=_INK, xmldecl=False, omitsize=True)
    return drawn.getvalue().decode()


@cache
def _fonts() -> typst.Fonts:
    return typst.Fonts(
        include_system_fonts=False, include_embedded_fonts=True, font_paths=[_folder(name) for name in _FONTS]
    )


def _folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"the font package {package} is not installed")
    return Path(spec.origin).parent
