"""Whether a name looks, to people, like another one.

Source: Unicode Technical Standard 39, confusable skeletons; of its table, the letters with which Latin names are
imitated.
"""

import json
import unicodedata
from functools import cache
from importlib.resources import files
from typing import Final

_SHORT: Final = 8
"""In letters: a shorter name stands in many others by chance."""


def reads_as(name: str, own: str, *, within: bool = False) -> bool:
    """Return whether people would take `name` for `own`; or, with `within`, for something that contains that name."""
    seen, wanted = _as_seen(name), _as_seen(own)
    return bool(wanted) and (seen == wanted or (within and len(wanted) >= _SHORT and wanted in seen))


def _as_seen(name: str) -> str:
    """Return a name without capitals, accents, spaces and invisible characters, each letter as the Latin one it looks
    like.

    V and n are treated as one letter: a Greek letter looks like one of them when small and like the other when large.
    """
    read = "".join(filter(str.isalnum, "".join(word for word in _words(name) if word not in _frills())))
    return read.replace("rn", "m").replace("nn", "w")


def _words(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return folded.translate(_latin()).replace(".", "").split()


@cache
def _frills() -> frozenset[str]:
    """Return articles and legal forms, which do not make another name."""
    return frozenset(_words("a an the ltd limited plc inc llc gmbh"))


@cache
def _latin() -> dict[int, str]:
    table: dict[str, str] = json.loads((files("credentials") / "data" / "look_alikes.json").read_text("utf-8"))
    return {ord(alike): letter for letter, many in table.items() for alike in many}
