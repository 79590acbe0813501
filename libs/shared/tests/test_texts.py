# ruff: noqa: RUF001 - letters that look alike are what it is about
"""What looks the same is the same."""

import unicodedata

import pytest
from pydantic import TypeAdapter, ValidationError

from shared import texts
from shared.web.content import Text

TEXT = TypeAdapter(Text)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (unicodedata.normalize("NFD", "Données"), "Données"),
        ("Da\u200bta\u00ad\ufeff Sci\u2060ence", "Data Science"),
        ("\u200b", ""),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("one\n\ttwo", "one\n\ttwo"),
    ],
)
def test_text_is_kept_composed_and_without_what_nobody_sees(typed, kept):
    assert TEXT.validate_python(typed) == kept


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\u202e", "\u2028", "\u2029", "\u2066"])
def test_what_turns_or_breaks_a_line_unseen_is_refused(character):
    with pytest.raises(ValidationError, match="control characters"):
        TEXT.validate_python(f"a{character}b")


@pytest.mark.parametrize(
    "alike",
    [
        ["Données", "DONNÉES", unicodedata.normalize("NFD", "données"), "Don\u00adnées", "\u200fDonnées"],
        ["Straße", "STRASSE", "strasse"],
        ["ΣΊΣΥΦΟΣ", "σίσυφος", "σίσυφοσ"],
        ["Data Science", "Ｄａｔａ　Ｓｃｉｅｎｃｅ", " data  science ", "Data\u00a0Science"],
        ["ﬁnance", "Finance", "FINANCE"],
    ],
)
def test_a_key_is_one_for_what_people_see_as_the_same(alike):
    assert len({texts.key(one) for one in alike}) == 1


def test_keys_differ_where_people_see_a_difference():
    assert len({texts.key(one) for one in ("Data Science", "Datascience", "Dáta Science", "Data Science 2")}) == 4
