"""Documents for people, from one view model each: on paper as PDF, on the screen as HTML.

Typst sets the paper: tagged PDF/UA-1 that is also PDF/A-2a, with fonts from packages alone, and the edition's own
instant as its date. So the same edition gives the same bytes on every machine with this release, and a file is
recognised as ours by its hash.
"""

import asyncio
import io
import json
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, cast

import segno
import typst
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from credentials.adapters import ornaments
from credentials.adapters.fonts import STANDARDS, Fonts, NotPrintable, undrawn
from credentials.domain.documents import DocumentKind
from shared.errors import Unavailable

ViewModel = Mapping[str, Any]  # Any: JSON

_INK: Final = "#1d2440"
_FRAMES: Final = {DocumentKind.PARCHMENT: (297.0, 210.0), DocumentKind.CERTIFICATE: (210.0, 297.0)}


class TypesetterBusy(Unavailable):
    """More documents are asked for at once than can be set."""

    code = "press_busy"


class Paper:
    """Sets at most `threads` documents at once, with `waiting` more in line. Typst works outside Python's lock."""

    def __init__(self, fonts: Fonts, *, threads: int = 2, waiting: int = 40) -> None:
        self._fonts = fonts
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

    def page(self, view_model: ViewModel) -> str:
        """Return the HTML twin of the paper: the same facts, for the screen, for print, and read aloud."""
        template = self._pages.get_template(f"document_{view_model['kind']}.html")
        seal, qr = Markup(ornaments.seal()), Markup(qr_code(view_model["address"]))  # noqa: S704 - our own drawings
        return template.render(view_model=view_model, seal=seal, qr=qr)

    def check_page(self, facts: Mapping[str, Any]) -> str:  # Any: the template's variables
        """Return the page that anybody who has the number of a document sees."""
        return self._pages.get_template("document_check.html").render(facts)

    def lacked(self, view_model: ViewModel) -> list[str]:
        """Return the characters of a view model for which `pdf` would raise NotPrintable."""
        return self._fonts.lacked(json.dumps(view_model, ensure_ascii=False))

    async def pdf(self, view_model: ViewModel, at: datetime) -> bytes:
        """Return the paper as PDF. Raises NotPrintable, TypesetterBusy."""
        if self._room <= 0:
            raise TypesetterBusy("too many documents are being set at this moment", headers={"Retry-After": "1"})
        self._room -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._set, view_model, at)
        finally:
            self._room += 1

    def _set(self, view_model: ViewModel, at: datetime) -> bytes:
        kind = DocumentKind(view_model["kind"])
        given = {
            "view_model": json.dumps({**view_model, "qr": qr_code(view_model["address"])}),
            "families": self._fonts.as_json,
            "seal": ornaments.seal(),
        }
        if kind in _FRAMES:
            given["frame"] = ornaments.frame(*_FRAMES[kind])
        try:
            file = self._compiler(kind).compile(
                format="pdf", pdf_standards=STANDARDS, sys_inputs=given, timestamp=int(at.timestamp())
            )
        except typst.TypstError as error:
            raise NotPrintable(undrawn(error)) from error
        return cast("bytes", file)

    def _compiler(self, kind: DocumentKind) -> typst.Compiler:
        """Return this thread's compiler for a kind: a compiler serves one call at a time, and caches what it has laid
        out."""
        compilers: dict[DocumentKind, typst.Compiler] = vars(self._own).setdefault("compilers", {})
        if kind not in compilers:
            layouts = Path(str(files("credentials") / "paper"))
            compilers[kind] = typst.Compiler(
                layouts / f"{kind}.typ", root=layouts, font_paths=self._fonts.loaded, ignore_system_fonts=True
            )
        return compilers[kind]


def qr_code(address: str) -> str:
    """Return the QR code of an address as SVG; it stays readable with an eighth of it covered."""
    drawn = io.BytesIO()
    code = segno.make(address, error="m", micro=False)
    code.save(drawn, kind="svg", border=0, dark=_INK, xmldecl=False, omitsize=True)
    return drawn.getvalue().decode()
