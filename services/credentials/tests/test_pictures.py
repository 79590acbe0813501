"""Pictures: readable, the same everywhere, and with the credential baked in."""

import json
import zlib
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from openbadgeslib import baking as another

from credentials.adapters.fonts import Fonts, NotPrintable
from credentials.adapters.pictures import SIZE, Motif, fit, render, svg
from openbadges.baking import into_svg
from shared.ids import new_id

from .announcements import hold_credit, let_time_work
from .papers import NAMES

COURSE = Motif("Applied <Machine> Learning & more", "University of Example", 15, 7, "Data Science", is_award=False)
FONTS = Fonts()
SVG = "{http://www.w3.org/2000/svg}"


def texts(drawing: str) -> list[str]:
    return [node.text or "" for node in ET.fromstring(drawing).iter(f"{SVG}text")]  # noqa: S314 - our own


def test_what_it_says_is_text_and_read_aloud() -> None:
    root = ET.fromstring(svg(COURSE))  # noqa: S314 - our own
    assert root.get("role") == "img"
    assert root.find(f"{SVG}title").text == COURSE.title
    assert root.find(f"{SVG}desc").text == "15 credits, Level 7, University of Example"
    assert " ".join(texts(svg(COURSE))[:-2]) == COURSE.title
    assert texts(svg(COURSE))[-1] == "15 credits · Level 7"


@pytest.mark.parametrize(
    "title",
    [
        "Law",
        "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
        "应用机器学习与数据科学导论" * 3,
        "مقدمة في علم البيانات والإحصاء التطبيقي",
        "हिन्दी में आँकड़ा विज्ञान",
        "word " * 200,
        "x" * 2000,
        " ",
    ],
)
def test_every_title_fits(title) -> None:
    size, lines = fit(title)
    assert 25 <= size <= 56
    assert len(lines) <= 6
    assert size * len(lines) * 1.22 < 210
    whole = "".join("".join(lines).split())
    assert "".join(title.split()) == whole or whole.endswith("…")


def test_a_title_with_what_xml_has_no_room_for_still_makes_a_drawing() -> None:
    title = "Welding\ufffe and \uffff more"
    drawing = svg(replace(COURSE, title=title))
    assert ET.fromstring(drawing).find(f"{SVG}title").text == "Welding and  more"  # noqa: S314 - our own
    signed = json.dumps({"name": title}, ensure_ascii=False)
    (node,) = ET.fromstring(into_svg(drawing, signed)).iter("{https://purl.imsglobal.org/ob/v3p0}credential")  # noqa: S314 - our own
    assert node.text is not None
    assert json.loads(node.text) == {"name": title}


def test_marks_stay_with_their_letters() -> None:
    _, lines = fit("हिं" * 60)
    assert all(line[0] == "ह" for line in lines)
    _, lines = fit("ន្ត្រី" * 60)
    assert all(line[0] == "ន" for line in lines)
    _, lines = fit("ทำ" * 60)
    assert all(line[0] == "ท" for line in lines)


def test_the_same_drawing_gives_the_same_bytes() -> None:
    first, again = render(COURSE, FONTS), render(COURSE, Fonts())
    assert first == again
    assert first.startswith(b"\x89PNG")
    assert int.from_bytes(first[16:20], "big") == int.from_bytes(first[20:24], "big") == SIZE


@pytest.mark.parametrize("script", NAMES)
def test_every_script_is_drawn(script) -> None:
    title = NAMES[script]
    drawn = render(Motif(title, title, 15, 7, "x", is_award=False), FONTS)
    assert len(drawn) > len(render(Motif("", "", 15, 7, "x", is_award=False), FONTS)) + 300


def test_what_no_font_has_is_refused_rather_than_boxed() -> None:
    with pytest.raises(NotPrintable) as refused:
        render(Motif("Law", "ꦲ Institute", 15, 7, "x", is_award=False), FONTS)
    assert refused.value.extras["characters"] == ["ꦲ"]


def test_what_begins_from_the_right_says_so() -> None:
    assert 'direction="rtl"' in svg(Motif("مقدمة (ML)", "x", 15, 7, "x", is_award=False))
    assert "direction" not in svg(COURSE)


def test_an_award_looks_like_one() -> None:
    award = Motif("PGCert in Law", "x", 60, 7, "Law", is_award=True, year=2026)
    assert svg(award).count("<ellipse") == 10
    assert svg(COURSE).count("<ellipse") == 0
    assert texts(svg(award))[-1] == "60 credits · Level 7 · 2026"


async def test_pictures_are_served_and_kept_by_those_who_have_them(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=1)
    await let_time_work(service)
    async with service.client("learner", id=learner) as client:
        badge = (await client.get("/v1/badges")).json()["items"][0]["badge_id"]
        document = (await client.get(f"/credentials/{badge}")).content
        achievement = (await client.get(f"/credentials/{badge}")).json()["credentialSubject"]["achievement"]["id"]
    path = achievement.removeprefix("https://badges.example.ac.uk")
    async with service.client() as anyone:
        for ending, kind in (("svg", "image/svg+xml"), ("png", "image/png")):
            for address in (f"{path}/image.{ending}", f"/credentials/{badge}.{ending}"):
                first = await anyone.get(address)
                assert (first.status_code, first.headers["content-type"]) == (200, kind)
                again = await anyone.get(address, headers={"If-None-Match": first.headers["etag"]})
                assert again.status_code == 304
        missing = [
            (await anyone.get(f"/{kind}/{new_id()}{rest}")).status_code
            for kind, rest in (("credentials", ".png"), ("credentials", ".svg"), ("achievements", "/image.png"))
        ]
        png = (await anyone.get(f"/credentials/{badge}.png")).content
        drawing = (await anyone.get(f"/credentials/{badge}.svg")).content
        answers = [(await anyone.post("/v1/verifications", content=baked)).json()["status"] for baked in (png, drawing)]
    assert missing == [404, 404, 404]
    assert answers == ["valid", "valid"]
    keyword, element = another.ITXT_KEYWORD_OB3, another.SVG_ELEMENT_OB3
    assert another.extract_png(png, keyword=keyword).encode() == document
    assert another.extract_svg(drawing, element=element, text_fallback=True).encode() == document
    assert ET.fromstring(drawing)[0].tag == "{https://purl.imsglobal.org/ob/v3p0}credential"  # noqa: S314 - our own
    chunk = png[33:]
    length = int.from_bytes(chunk[:4], "big")
    assert chunk[4:8] == b"iTXt"
    assert zlib.crc32(chunk[4 : 8 + length]) == int.from_bytes(chunk[8 + length : 12 + length], "big")
