"""Where the fonts are: packages under the SIL Open Font Licence, so that every machine draws the same."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGES = (
    "fontpkg_noto_serif",
    "noto_cjk_sans_jp_regular",
    "pylopdf_fonts_ar",
    "pylopdf_fonts_he",
    "pylopdf_fonts_hi",
    "pylopdf_fonts_th",
)


@cache
def font_files() -> tuple[str, ...]:
    """Of Latin, Greek, Cyrillic, Chinese, Japanese, Korean, Arabic, Hebrew, Devanagari and Thai."""
    found = [
        path for package in PACKAGES for path in sorted(_folder(package).rglob("*")) if path.suffix in {".ttf", ".otf"}
    ]
    return tuple(map(str, found))


def _folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"the font package {package} is not installed")
    return Path(spec.origin).parent
