"""Estimate how long a text is, and break it into lines, for drawings whose fonts we do not choose."""

import unicodedata

_NARROW, _WIDE = set("iljtfrI.,:;'!|()[]-"), set("mwMWQO@%&")
_BROAD = ("TAMIL", "MALAYALAM", "MYANMAR", "ORIYA", "SINHALA", "ETHIOPIC", "ARMENIAN", "GEORGIAN")
"""Scripts whose letters are about as wide as high, by the names of their characters in Unicode."""
_JOINERS = "\u200c\u200d"
_FOLLOWING = "\u0e33\u0eb3"
"""Vowels of Thai and Lao that are no combining marks, but never begin a line."""
_VIRAMA, _MOST_JOINED = 9, 8
"""The combining class of marks that join the next letter to the one before; the most characters so joined."""


def wrap(text: str, room: float) -> list[str]:
    """Return a text as lines of at most `room` ems.

    Lines break at spaces, and within a word that is longer (as in a script without spaces).
    """
    lines, line = list[str](), ""
    for word in text.split():
        joined = f"{line} {word}" if line else word
        if length(joined) <= room:
            line = joined
            continue
        if line:
            lines.append(line)
        line = ""
        for cluster in _clusters(word):
            if length(line + cluster) > room:
                lines.append(line)
                line = ""
            line += cluster
    return [*lines, line]


def _clusters(word: str) -> list[str]:
    """Return a word's letters with their marks and the letters those join to them, which are never separated."""
    found: list[str] = []
    joined = False
    for letter in word:
        mark = unicodedata.category(letter).startswith("M") or letter in _JOINERS or letter in _FOLLOWING
        if found and (mark or (joined and len(found[-1]) < _MOST_JOINED)):
            found[-1] += letter
        else:
            found.append(letter)
        joined = unicodedata.combining(letter) == _VIRAMA or letter == _JOINERS[1]
    return found


def length(text: str) -> float:
    """Return the length of a text in ems, rather too long than too short, whatever font is used."""
    return sum(map(_width, text))


def _width(letter: str) -> float:
    category = unicodedata.category(letter)
    if category in {"Mn", "Me", "Cf"}:
        return 0.0
    if unicodedata.name(letter, "").startswith(_BROAD):
        return 0.96
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.0
    if letter in _NARROW or letter == " ":
        return 0.34
    if letter in _WIDE:
        return 0.92
    return 0.7 if letter.isupper() else 0.58
