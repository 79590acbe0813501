"""Issuers of whom nobody knows anything, and those who borrow our name."""

import json
from base64 import urlsafe_b64encode

import pytest

from credentials.adapters.credential_issuer import CredentialIssuer
from credentials.domain.look_alikes import reads_as
from openbadges.testing import jwk
from shared.ids import new_id

from .strangers import BY_KEY, signed_by
from .verifying import issued

OURS = "University of Example"
BY_JWK = "did:jwk:" + urlsafe_b64encode(json.dumps(jwk("EdDSA")).encode()).decode().rstrip("=")
UNKNOWN = "Signed, by somebody this page does not know"


async def verified(service, document) -> tuple[dict, str]:
    """By the API, and on the page."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    async with service.client() as anyone:
        answer = (await anyone.post("/v1/verifications", content=body)).json()
        page = await anyone.post("/verify", files={"file": ("badge", body, "application/json")})
    return answer, page.text


@pytest.mark.parametrize("did", [BY_KEY, BY_JWK], ids=["key", "jwk"])
async def test_whoever_is_only_a_key_is_never_called_valid(service, session, clock, did) -> None:
    answer, page = await verified(service, signed_by(did, "Other University"))
    assert (answer["verified"], answer["status"]) == (True, "valid")
    assert (answer["issuer_known"], answer["bears_our_name"]) == ("key", False)
    assert "nothing is known but a key" in answer["meaning"]
    assert f"<strong>{UNKNOWN}</strong>" in page
    assert f"<title>{UNKNOWN}: Welding</title>" in page
    assert '<div class="verdict valid"' not in page
    assert "genuine" not in page


async def test_what_anybody_puts_together_and_holds_is_shown_so(service, session, clock) -> None:
    _, own = await issued(service, session, new_id())
    answer, page = await verified(service, signed_by(BY_KEY, "Other University", whole=[json.loads(own)]))
    assert answer["status"] == "partly_valid"
    assert (answer["issuer_known"], answer["parts"][0]["issuer_known"]) == ("key", "ours")
    assert f"<strong>{UNKNOWN}</strong>" in page
    assert answer["parts"][0]["bears_our_name"] is False
    inner, page = await verified(service, signed_by(BY_KEY, "Other University", whole=[signed_by(BY_KEY, OURS)]))
    assert inner["parts"][0]["bears_our_name"] is True
    assert '<span class="chip unconfirmed">Not issued by us</span>' in page


async def test_our_own_are_known(service, session, clock) -> None:
    _, own = await issued(service, session, new_id())
    answer, page = await verified(service, own)
    assert (answer["issuer_known"], answer["bears_our_name"], answer["status"]) == ("ours", False, "valid")
    assert "<strong>Valid</strong>" in page
    forged, page = await verified(service, own.replace(b"DS01", b"DS02"))
    assert (forged["issuer_known"], forged["bears_our_name"]) == (None, False)


@pytest.mark.parametrize(
    "name",
    [
        OURS,
        "THE UNIVERSITY OF EXAMPLE",
        "Üniversity of Exämple",
        "University\u00a0of\u200b Ex\u0430mp\u04cfe",
        "Unlversity of Examp1e Ltd",
    ],
)
@pytest.mark.parametrize("did", [BY_KEY, BY_JWK], ids=["key", "jwk"])
async def test_our_name_in_anothers_mouth_is_shown_loudly(service, session, clock, did, name) -> None:
    assert service.service.resources[CredentialIssuer].issuer.name == OURS
    answer, page = await verified(service, signed_by(did, name))
    assert (answer["bears_our_name"], answer["issuer_known"]) == (True, "key")
    assert "we did not issue it" in answer["meaning"]
    assert "<strong>Not issued by us</strong>" in page
    assert '<div class="verdict unconfirmed"' in page


def test_names_that_read_alike() -> None:
    lists = [
        (OURS, True),
        ("\uff35\uff2e\uff29versity of Example", True),
        ("\u0410 Univ\u0435r\u0455ity \u03bff \u0395\u0445ample", True),
        ("University of Exarnple.", True),
        ("Uni\u03bdersity of Example", True),
        ("UNI\u039dERSITY of Example", True),
        ("\ua4f4\ua4e0\ua4f2\ua4e6\ua4f0rsity of Example", True),
        ("Universi\u13a2y of Example", True),
        ("U\u2c9biversity of Example", True),
        ("The University of Example, Ltd.", True),
        ("University of Exemplary", False),
        ("European University of Example", False),
        ("Other University", False),
        ("", False),
    ]
    assert [reads_as(name, OURS) for name, _ in lists] == [alike for _, alike in lists]
    assert reads_as("European University of Example", OURS, within=True)
    assert not reads_as("UCLan", "UCL", within=True), "a short name stands by chance in others"
    assert reads_as("U.C.L", "UCL")
