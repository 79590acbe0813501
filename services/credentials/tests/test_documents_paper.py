"""Documents on paper and on the screen: one view model, two forms, names in any script."""

import io
import re
from collections import Counter
from importlib.resources import files
from pathlib import Path
from tempfile import NamedTemporaryFile

import pdfua
import pytest
from pypdf import PdfReader
from pypdf.generic import DictionaryObject, StreamObject

from credentials.adapters import ornaments
from credentials.adapters.fonts import Fonts, NotPrintable
from credentials.adapters.paper import Paper, TypesetterBusy
from credentials.domain import documents, transcripts, view_models
from credentials.domain.documents import DocumentKind

from .papers import AT, ENTRY, LATER, NAMES, view_model

FONTS = Fonts()


@pytest.fixture(scope="module")
def paper() -> Paper:
    return Paper(FONTS)


def strings(value: object) -> list[str]:
    if isinstance(value, dict):
        return [found for name, item in value.items() if name not in UNSEEN for found in strings(item)]
    if isinstance(value, list | tuple):
        return [found for item in value for found in strings(item)]
    return [str(value)] if value is not None else []


UNSEEN = {"kind", "name_lang", "name_is_rtl", "title", "heading", "initials", "nonce"}


def squeezed(text: str) -> str:
    """Without spaces: where lines break differs between the forms."""
    return re.sub(r"\s+", "", text).casefold()


def broken_rules(file: bytes) -> list[str]:
    """The rules of PDF/UA that an independent checker, which reads files by name, finds broken."""
    with NamedTemporaryFile(suffix=".pdf") as kept:
        kept.write(file)
        kept.flush()
        return [finding.rule_id for finding in pdfua.validate(kept.name).findings]


@pytest.mark.parametrize("kind", list(DocumentKind))
async def test_paper_and_page_tell_the_same_facts(paper: Paper, kind: DocumentKind) -> None:
    shown = view_model(kind)
    read = squeezed("".join(page.extract_text() for page in PdfReader(io.BytesIO(await paper.pdf(shown, AT))).pages))
    page = squeezed(paper.page(shown))
    printed = [squeezed(one) for one in strings({name: item for name, item in shown.items() if name != "title"})]
    assert [one for one in printed if one not in read] == []
    assert [one for one in printed if one not in page] == []


@pytest.mark.parametrize("kind", list(DocumentKind))
async def test_paper_is_tagged_and_an_independent_checker_finds_nothing(paper: Paper, kind: DocumentKind) -> None:
    file = await paper.pdf(view_model(kind), AT)
    assert broken_rules(file) == []
    reader = PdfReader(io.BytesIO(file))
    root = reader.root_object
    marks, stream = root["/MarkInfo"], root["/Metadata"]
    assert isinstance(marks, DictionaryObject)
    assert marks["/Marked"]
    assert root["/Lang"] == "en-GB"
    assert isinstance(stream, StreamObject)
    metadata = stream.get_data().decode()
    assert "<pdfuaid:part>1</pdfuaid:part>" in metadata
    assert "<pdfaid:part>2</pdfaid:part>" in metadata
    assert reader.metadata.title == view_model(kind)["title"]
    width, height = sorted(round(float(side) * 25.4 / 72) for side in reader.pages[0].mediabox[2:])
    assert (width, height) == (210, 297)


async def test_the_same_edition_gives_the_same_bytes(paper: Paper) -> None:
    first = await paper.pdf(view_model(DocumentKind.PARCHMENT), AT)
    assert await Paper(FONTS).pdf(view_model(DocumentKind.PARCHMENT), AT) == first
    assert await paper.pdf(view_model(DocumentKind.PARCHMENT, "Ada King"), AT) != first
    assert PdfReader(io.BytesIO(first)).metadata.creation_date == AT


@pytest.mark.parametrize("script", NAMES)
async def test_a_name_is_set_in_its_own_script(paper: Paper, script: str) -> None:
    name = NAMES[script]
    for kind in DocumentKind:
        shown = view_model(kind, name)
        file = await paper.pdf(shown, AT)
        assert broken_rules(file) == []
        reader = PdfReader(io.BytesIO(file))
        assert len(reader.pages) == 1
        letters = {letter for letter in name if letter.isalpha()}
        read = set(reader.pages[0].extract_text()) | said_of_glyphs(reader)
        assert letters <= read, letters - read
        assert name in paper.page(shown)
        assert paper.lacked(shown) == []


def said_of_glyphs(reader: PdfReader) -> set[str]:
    """The letters stated for glyphs that are parts of one, which pypdf's own extraction does not read."""
    operations = reader.pages[0].get_contents().operations
    said = [operands[1].get("/ActualText", "") for operands, operator in operations if operator == b"BDC"]
    return {letter for text in said for letter in text}


@pytest.mark.parametrize("script", ["Arabic", "Persian", "Pashto", "Uyghur", "Kurdish", "Sindhi"])
async def test_each_letter_of_an_arabic_name_is_read_once(paper: Paper, script: str) -> None:
    """To whoever copies it or has it read aloud: in fonts that build letters of several glyphs, each glyph stands for its letter."""
    reader = PdfReader(io.BytesIO(await paper.pdf(view_model(DocumentKind.PARCHMENT, NAMES[script]), AT)))
    assert said_of_glyphs(reader) == set()
    read = Counter(letter for letter in reader.pages[0].extract_text() if "\u0600" <= letter <= "\u06ff")
    assert read == Counter(NAMES[script].replace(" ", ""))


async def test_a_name_begins_at_its_own_side(paper: Paper) -> None:
    for name, is_rtl in (("محمد (Mo) على", True), ("Mo (محمد) X", False)):
        shown = view_model(DocumentKind.PARCHMENT, name)
        assert shown["name_is_rtl"] is is_rtl
        drawn = [await paper.pdf({**shown, "name_is_rtl": way}, AT) for way in (is_rtl, not is_rtl)]
        assert await paper.pdf(shown, AT) == drawn[0] != drawn[1]
    assert view_models.is_rtl("123 דוד")
    assert not view_models.is_rtl("123")


@pytest.mark.parametrize("name", ["ᚠᚢᚦᚨᚱᚲ", "ꦲꦏ꧀ꦱꦫ", "Ada 🎓"])
async def test_a_name_no_font_has_is_refused_rather_than_boxed(paper: Paper, name: str) -> None:
    with pytest.raises(NotPrintable) as refused:
        await paper.pdf(view_model(DocumentKind.CERTIFICATE, name), AT)
    characters = refused.value.extras["characters"]
    assert isinstance(characters, list)
    assert set(characters) == {one for one in name if one not in "Ada "}


async def test_a_folder_brings_fonts_for_what_no_package_has(paper: Paper, tmp_path: Path) -> None:
    """A family a package has is not taken from there, so that nothing else is drawn differently."""
    for font in ("manimgx_fonts/NotoEmoji[wght].ttf", "manimgx_fonts/NotoSansTamil[wght].ttf"):
        package, _, name = font.partition("/")
        (tmp_path / f"other-{name}").write_bytes((files(package) / name).read_bytes())
    fonts = Fonts(tmp_path)
    assert fonts.families == (*FONTS.families, "Noto Emoji")
    file = await Paper(fonts).pdf(view_model(DocumentKind.PARCHMENT, "Ada 🎓"), AT)
    assert broken_rules(file) == []
    tamil = view_model(DocumentKind.PARCHMENT, NAMES["Tamil"])
    assert await Paper(fonts).pdf(tamil, AT) == await paper.pdf(tamil, AT)


@pytest.mark.parametrize(
    "name", ["Wolfeschlegelsteinhausenbergerdorff " * 4, "X" * 150, "<b>#eval</b> \\ $x$ *y* @z `c`", "A"]
)
async def test_a_name_is_text_however_long_or_odd(paper: Paper, name: str) -> None:
    shown = view_model(DocumentKind.PARCHMENT, name)
    reader = PdfReader(io.BytesIO(await paper.pdf(shown, AT)))
    assert len(reader.pages) == 1
    assert squeezed(name) in squeezed(reader.pages[0].extract_text().replace("-\n", ""))
    assert "<b>" not in paper.page(shown)


async def test_a_long_record_takes_as_many_pages_as_it_needs(paper: Paper) -> None:
    said = transcripts.content("learner", "Ada Lovelace", [ENTRY | {"credit_id": f"{n:03}"} for n in range(60)], [])
    reader = PdfReader(io.BytesIO(await paper.pdf(view_model(DocumentKind.TRANSCRIPT, **said), AT)))
    assert len(reader.pages) >= 3
    assert all(f"of {len(reader.pages)}" in page.extract_text() for page in reader.pages)
    assert "900 credits in all" in reader.pages[-1].extract_text()


@pytest.mark.parametrize(
    ("shown", "sentence"),
    [
        (
            view_model(DocumentKind.PARCHMENT, **LATER),
            "Superseded on 2 March 2027 by the award of PGDip in Data Science",
        ),
        (view_model(DocumentKind.PARCHMENT, is_newest=False), "A later version has taken the place of this one"),
        (view_model(DocumentKind.TRANSCRIPT, is_newest=False), "A later version has taken the place of this one"),
    ],
)
async def test_what_is_superseded_says_so(paper: Paper, shown: view_models.ViewModel, sentence: str) -> None:
    read = PdfReader(io.BytesIO(await paper.pdf(shown, AT))).pages[0].extract_text()
    assert squeezed(sentence) in squeezed(read)
    assert sentence in paper.page(shown)


async def test_more_than_fit_in_the_line_are_asked_to_wait() -> None:
    with pytest.raises(TypesetterBusy) as refused:
        await Paper(FONTS, threads=0 + 1, waiting=-1).pdf(view_model(DocumentKind.PARCHMENT), AT)
    assert refused.value.headers["Retry-After"] == "1"


def test_credit_from_elsewhere_has_no_mark_to_show() -> None:
    said = transcripts.content("learner", "Ada", [ENTRY | {"mark": None, "attempt": None}], [])
    (row,) = view_model(DocumentKind.TRANSCRIPT, **said)["credits"]
    assert (row["mark"], row["attempt"]) == ("recognised", "none")


def test_a_class_is_shown_only_where_there_is_one() -> None:
    assert view_model(DocumentKind.PARCHMENT)["honours"] == "Merit"
    assert view_model(DocumentKind.PARCHMENT, classification="Unclassified", mark=None)["honours"] is None


@pytest.mark.parametrize(
    ("name", "language"),
    [("山田 たろう", "ja"), ("王小明", "zh"), ("김이순신", "ko"), ("Ada", None), ("דוד", None)],
)
def test_letterforms_follow_the_likely_language(name: str, language: str | None) -> None:
    assert view_models.language_of(name) == language


def test_an_issuer_is_known_by_its_initials() -> None:
    assert view_models.initials("University of London") == "UoL"
    assert view_models.initials("The Federation of Universities") == "FoU"


def test_ornaments_are_drawn_once() -> None:
    assert ornaments.seal() is ornaments.seal()
    assert ornaments.frame(297, 210) is ornaments.frame(297, 210)


def test_an_edition_is_pinned_by_its_hash() -> None:
    credits_ = [ENTRY | {"credit_id": str(n), "ratified_at": f"2026-10-0{n}T09:00:00Z"} for n in (1, 2)]
    said = transcripts.content("learner", "Zoë", credits_, [])
    assert said["total_credits"] == 30
    assert documents.hash_of(said) == documents.hash_of(transcripts.content("learner", "Zoë", credits_[::-1], []))
    one, two = (documents.edition(said, version, AT, "0" * 32) for version in (1, 2))
    assert documents.hash_of(one) != documents.hash_of(two)


def test_an_earlier_edition_is_kept_back_once_the_name_changed() -> None:
    documents.check_name({"name": "Ada King"}, "Ada King")
    with pytest.raises(documents.EarlierName):
        documents.check_name({"name": "Ada Lovelace"}, "Ada King")
