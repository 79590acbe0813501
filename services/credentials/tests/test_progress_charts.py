"""The pictures: what they say aloud is what they show."""

from xml.etree import ElementTree as ET

from credentials.adapters import progress_charts
from credentials.adapters.progress_charts import Step, SubjectProgress
from credentials.commands import awards
from shared.ids import new_id

from .announcements import DS, activated, consume, course, hold_credit
from .courses import priced

SVG = "{http://www.w3.org/2000/svg}"


def parts(svg: bytes) -> tuple[ET.Element, str, str]:
    root = ET.fromstring(svg)  # noqa: S314 - our own
    title, description = root.findtext(f"{SVG}title"), root.findtext(f"{SVG}desc")
    assert title is not None
    assert description is not None
    return root, title, description


def within(root: ET.Element) -> bool:
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    boxes = [one for one in root.iter(f"{SVG}rect") if one.get("x")]
    inside = all(
        float(one.attrib["x"]) + float(one.attrib["width"]) <= width
        and float(one.attrib["y"]) + float(one.attrib["height"]) <= height
        for one in boxes
    )
    return inside and all(0 < float(one.attrib["y"]) < height for one in root.iter(f"{SVG}text"))


async def test_the_chart_shows_what_is_held_studied_open_and_next(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4, MG=1)
    await consume(session, course("DS09", DS), priced("DS09"), activated(learner, "mc-regs-2026.2", code="DS09"))
    async with service.client("learner", id=learner) as client:
        answer = await client.get("/v1/award-options/picture")
    assert answer.headers["content-type"] == "image/svg+xml"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    root, title, description = parts(answer.content)
    assert title == "Your progress: 75 credits"
    assert "Data Science: 60 credits, 15 being studied" in description
    assert "PGCert: 60 of 60 credits" in description
    assert "You can claim: PGCert in Data Science" in description
    kinds = [one.attrib["class"].split()[1] for one in root.iter(f"{SVG}rect") if "block" in one.attrib["class"]]
    assert (kinds.count("earned"), kinds.count("studying")) == (5, 1)
    assert within(root)


async def test_nobody_has_an_empty_picture(service, session, clock) -> None:
    async with service.client("learner") as client:
        root, title, description = parts((await client.get("/v1/award-options/picture")).content)
    assert title == "Your progress: 0 credits"
    assert description.startswith("No credit yet. PGCert: 0 of 60 credits.")
    assert within(root)


async def test_an_award_shows_what_it_is_made_of_and_no_person(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=3, MG=1)
    award = await awards.claim_award(session, learner, "pgcert", "PGCert in Data Science with Management", None)
    await awards.confer_award(session, award.award_id, by=new_id())
    async with service.client("learner", id=learner) as own, service.client("learner") as other:
        answer = await own.get(f"/v1/awards/{award.award_id}/picture")
        assert (await other.get(f"/v1/awards/{award.award_id}/picture")).status_code == 404
    root, title, description = parts(answer.content)
    assert title == award.title
    assert "45 credits in Data Science, 15 credits in Management" in description
    assert award.certificate_number not in answer.text
    assert within(root)


def test_any_name_is_drawn_as_text() -> None:
    """Names are data: never markup, and never wider than the picture."""
    names = [
        "<script>alert(1)</script> & more",
        "国際開発と人道支援と紛争解決に関する学際的研究の理論と実践の歴史",
        "دراسات",
        "A" * 200,
    ]
    svg = progress_charts.draw_progress_chart(
        [SubjectProgress(name, 13, 2, 1) for name in names],
        [Step("PGCert", 60, 75, names)],
        module_credits=15,
        next_words=names,
    )
    root, _, _ = parts(svg)
    assert b"<script" not in svg
    assert within(root)
    assert max(len(one.text or "") for one in root.iter(f"{SVG}text")) <= 60
