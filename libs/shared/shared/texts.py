"""Text: whether a column holds it, and normal forms of what people type, by which what looks the same is the same.

Source: Unicode Standard Annexes 15 (forms) and 31 (identifiers).
"""

import re
import unicodedata
from typing import Final

_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2064\u206a-\u206f\u3164\ufeff\uffa0]"
)
"""Characters that are shown as nothing, but for joiners, marks of direction and variation selectors, which some scripts
need."""
_JOINERS = re.compile("[\u061c\u200c-\u200f\ufe00-\ufe0f]")


def is_storable(text: str) -> bool:
    """Return whether a column of PostgreSQL can hold this text: it has neither NUL nor half of a surrogate pair."""
    return _UNSTORABLE.search(text) is None


def in_a_line(foreign: object) -> str:
    """Return a text to be printed in one line of a terminal: line ends, control characters and halves of surrogate
    pairs are written as Python's escapes."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in str(foreign))


def normal(text: str) -> str:
    """Return a text composed (NFC), and without soft hyphens, spaces of no width, fillers and byte order marks."""
    return unicodedata.normalize("NFC", _INVISIBLE.sub("", text))


def key(text: str) -> str:
    """Return a key that is equal for texts which differ only in case, width, composition, spaces and invisible
    characters."""
    seen = _JOINERS.sub("", _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)))
    return " ".join(unicodedata.normalize("NFKC", seen.casefold()).split())
