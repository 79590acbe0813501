"""Whoever runs the platform here is told where a wrapping key does not open the signing keys, beside that it is up."""

import asyncio
import base64
from dataclasses import replace

from embedded import strangers
from embedded.services import build
from shared.messaging.inprocess import InProcessBus
from shared.process import Process


async def test_a_wrapping_key_that_does_not_open_the_signing_keys_is_reported_once(
    embedded_platform, monkeypatch, capsys
):
    monkeypatch.setattr(strangers, "LOOK_SECONDS", 0.01)
    right = embedded_platform.deployment
    another = base64.b64encode(bytes(32)).decode()
    lost = replace(right, secrets=right.secrets | {"gateway keys": another, "credentials keys": another})
    printed: dict[str, list[str]] = {}
    for which, deployment in (("right", right), ("lost", lost)):
        processes = {name: Process(build(name, deployment), bus=InProcessBus()) for name in ("gateway", "credentials")}
        printing = asyncio.create_task(strangers.print_strangers(processes))
        await asyncio.sleep(2)
        printing.cancel()
        await asyncio.wait({printing})
        assert printing.cancelled()
        printed[which] = [line for line in capsys.readouterr().out.splitlines() if "wrapping key" in line]
        for process in processes.values():
            await process.http.aclose()
            await process.database.dispose()
    assert printed["right"] == []
    assert [line.partition(":")[0] for line in printed["lost"]] == [
        f"The wrapping key of {name} does not open its signing key" for name in ("credentials", "gateway")
    ]
