"""One learner goes the whole way through the gateway, in one process and with each service in its own."""

import pytest

from embedded import demo


async def test_the_whole_way_in_one_process(embedded_platform, capsys):
    award = await demo.narrate(embedded_platform.url, embedded_platform.deployment.folder, embedded_platform.feeds)
    _has_conferred_a_mixed_title(award, capsys.readouterr().out)


@pytest.mark.slow
@pytest.mark.broker
async def test_the_whole_way_with_each_service_in_its_own_process(separate_services, capsys):
    award = await demo.narrate(separate_services.url, separate_services.deployment.folder, separate_services.feeds)
    _has_conferred_a_mixed_title(award, capsys.readouterr().out)


def _has_conferred_a_mixed_title(award, output):
    assert award["title"] == "PGCert in Data Science with Management"
    assert award["state"] == "conferred"
    assert award["certificate_number"]
    assert "→ event payments.payment.confirmed.v1" in output
    assert "→ event credentials.award.conferred.v1" in output
    assert output.count(": valid (") == 5
