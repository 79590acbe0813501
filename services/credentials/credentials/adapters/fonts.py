"""The fonts documents and pictures are drawn with: none of the system's, so that every machine draws the same.

They come in packages, under the SIL Open Font Licence. For a script that no package covers, an operator names a folder;
only families that no package has are taken from it, so that whatever was drawn before is drawn alike.
"""

import json
import logging
import re
import unicodedata
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Final

import typst

from shared.errors import Invalid

log = logging.getLogger(__name__)

STANDARDS: Final[list["typst.PDFStandard"]] = ["ua-1", "a-2a"]

# Fonts are tried in this order: serifs first, then the scripts that have none here, Han at the end.
_PACKAGED: Final = (
    ("fontpkg_noto_serif", "NotoSerif*"),
    ("fontpkg_amiri", "Amiri*"),
    ("pylopdf_fonts_he", "NotoSerifHebrew*"),
    ("pylopdf_fonts_hi", "NotoSerifDevanagari*"),
    ("pylopdf_fonts_th", "NotoSerifThai*"),
    ("manimgx_fonts", "NotoSans[A-Z]*"),
    ("noto_cjk_sans_jp_regular", "NotoSansCJK*"),
)
_EMBEDDED: Final = "Libertinus Serif"
"""The font for Latin, Greek and Cyrillic, which is built into typst."""
_KINDS: Final = {".ttf", ".otf", ".ttc"}
_MISSING: Final = re.compile(r'the text `"(.*?)"` could not be displayed')
_ESCAPED: Final = re.compile(r"\\u\{([0-9a-f]+)\}")
_SAMPLE: Final = b"""
#set document(title: "sample")
#set text(font: json(bytes(sys.inputs.families)), fallback: false)
#sys.inputs.characters
"""
_MOST_NAMED: Final = 20


class NotPrintable(Invalid):
    """No font here has these characters. Nothing is drawn rather than boxes in place of a name."""

    remedy = "Register a name in another script for certificates, or have the operator add a font for this one."

    def __init__(self, characters: list[str]) -> None:
        super().__init__("no font here has some of the characters", characters=characters[:_MOST_NAMED])


class Fonts:
    """The fonts we have, and which characters they lack."""

    def __init__(self, folder: Path | None = None) -> None:
        folders = [_folder_of(package) for package, _ in _PACKAGED]
        families = _families(folders)
        files = [path for place, (_, names) in zip(folders, _PACKAGED, strict=True) for path in _files(place, names)]
        if folder is not None:
            self._added = TemporaryDirectory(prefix="fonts-")  # typst takes whole folders, and follows no links
            place = Path(self._added.name)
            _copy_unknown(folder, place, {_EMBEDDED, *(family for path in files for family in families[path])})
            folders.append(place)
            families |= _families([place])
            files += _files(place, "*")
        self.families = tuple(dict.fromkeys([_EMBEDDED, *(family for path in files for family in families[path])]))
        """The families in the order in which they are tried for a character."""
        self.loaded = typst.Fonts(include_system_fonts=False, include_embedded_fonts=True, font_paths=folders)
        self._had, self._lacked = set[str](), set[str]()

    @cached_property
    def as_json(self) -> str:
        return json.dumps(self.families)

    def lacked(self, text: str) -> list[str]:
        """Return the characters of a text that no font here has.

        Typst decides, once for each character, since it does the drawing.
        """
        unknown = set(text) - self._had - self._lacked
        if unknown:
            lacked = self._ask(unknown)
            if lacked:  # logged once; an operator can name a folder with fonts for them
                scripts = sorted({unicodedata.name(one, "UNKNOWN").partition(" ")[0] for one in lacked})
                log.warning("no font has some characters", extra={"scripts": scripts})
            self._lacked |= lacked
            self._had |= unknown - lacked
        return sorted(set(text) & self._lacked)

    def _ask(self, characters: set[str]) -> set[str]:
        given = {"families": self.as_json, "characters": " ".join(sorted(characters))}
        try:
            typst.Compiler(_SAMPLE, font_paths=self.loaded).compile(
                format="pdf", pdf_standards=STANDARDS, sys_inputs=given
            )
        except typst.TypstError as error:
            return characters & set("".join(undrawn(error)))
        return set()


def undrawn(error: typst.TypstError) -> list[str]:
    """Return the texts no font has, if that is typst's error; else raise the error itself."""
    found = set(_MISSING.findall(f"{error.message} {error.diagnostic}"))
    if not found:
        raise error
    return sorted(_ESCAPED.sub(lambda escaped: chr(int(escaped[1], 16)), text) for text in found)


def _copy_unknown(folder: Path, place: Path, known: set[str]) -> None:
    for path, found in _families([folder]).items():
        if known.isdisjoint(found):
            copyfile(path, place / path.name)


def _families(folders: list[Path]) -> dict[Path, list[str]]:
    """Return the families of each font file, by its path."""
    found: dict[Path, list[str]] = {}
    fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=folders)
    for font in fonts.fonts():
        if font.path is not None:
            found.setdefault(Path(font.path), []).append(font.family)
    return found


def _files(folder: Path, names: str) -> list[Path]:
    return sorted(path for path in folder.rglob(names) if path.suffix in _KINDS)


def _folder_of(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"the font package {package} is not installed")
    return Path(spec.origin).parent
