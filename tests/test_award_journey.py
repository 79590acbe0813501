"""From credit to awards and through a revocation, through the front door."""

import pytest

from embedded import demo_award


@pytest.mark.slow
async def test_an_award_stands_on_other_credit_after_a_revocation(embedded_platform):
    diploma = await demo_award.narrate(
        embedded_platform.url, embedded_platform.deployment.folder, embedded_platform.feeds
    )
    assert (diploma["state"], diploma["title"]) == ("conferred", "PGDip in Data Science and Management")
