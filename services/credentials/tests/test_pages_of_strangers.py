"""What our page says of others' credentials."""

from credentials.adapters.pages import Pages, verdict_of
from credentials.domain.recorded_reports import RecordedReport
from openbadges import keys
from openbadges import testing as foreign
from openbadges.testing import badge, sign, transcript, verify


async def checked(document: dict) -> RecordedReport:
    return RecordedReport.of(await verify(document))


def page_of(report: RecordedReport) -> str:
    return Pages().verification(report, report.status.value, ours=False, downloads={})


async def test_a_record_that_anybody_put_together_is_the_word_of_its_maker() -> None:
    maker = f"did:key:{foreign.MULTIKEY}"
    record = transcript([sign(badge())], issuer={"id": maker, "type": ["Profile"], "name": "Registry"})
    got = await checked(sign(record, keys.LocalSigner(foreign.ED, f"{maker}#{foreign.MULTIKEY}")))
    assert verdict_of(got, got.status, ours=False)[1].endswith("it is the word of its maker alone.")
    assert f'Other University</span> <code dir="ltr">{foreign.DID}' in page_of(got)


async def test_what_a_page_has_no_room_for_is_counted() -> None:
    document = badge()
    document["credentialSubject"]["result"] = [
        {"id": f"urn:result:{number}", "type": ["Result"], "value": "Failed" if number == 50 else "100"}
        for number in range(53)
    ]
    assert "It says more than is shown here: 3 further entries" in page_of(await checked(sign(document)))
    assert "It says more" not in page_of(await checked(sign(badge())))


async def test_a_part_that_cannot_be_read_has_a_name_on_the_page() -> None:
    assert "Credential</strong>" in page_of(await checked(sign(transcript([sign(badge(1)), "no credential"]))))
