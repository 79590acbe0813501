"""Whoever runs the platform here is warned where files are not the platform's own, and what a database lacks."""

import asyncio

from embedded import strangers
from embedded.services import build, nowhere
from shared.messaging.inprocess import InProcessBus
from shared.process import Process
from shared.storage import ObjectStorage


async def test_a_store_of_another_installation_and_a_database_that_lacks_history_are_reported_in_one_line_and_once(
    monkeypatch, capsys
):
    monkeypatch.setattr(strangers, "LOOK_SECONDS", 0.01)
    deployment = nowhere()
    processes = {name: Process(build(name, deployment), bus=InProcessBus()) for name in ("assessment", "catalogue")}
    storage = processes["assessment"].service.resources[ObjectStorage]
    printing = asyncio.create_task(strangers.print_strangers(processes))

    async def said() -> list[str]:
        await asyncio.sleep(0.1)
        return capsys.readouterr().out.splitlines()

    assert storage.stranger, "until its owner was read"
    assert await said() == []
    storage.stranger = "it belongs to the installation a, and this is b"
    assert await said() == [
        "Uploads to assessment are refused: the file store it finds is not its own "
        "(it belongs to the installation a, and this is b). Put its own back, "
        "or say that this one is new: `python -m assessment files claim`."
    ]
    assert await said() == []
    processes["catalogue"].lost = "enrolment has read further"
    assert await said() == [
        "The database of catalogue lacks what others have read: nothing ends or is refused there until somebody "
        "decides (`python -m catalogue restored show`, then `restored accept`)."
    ]
    assert await said() == []
    processes["catalogue"].lost = None
    assert await said() == ["What the database of catalogue lacks was accepted."]
    storage.stranger = None
    assert await said() == ["Uploads to assessment are taken again."]
    printing.cancel()
    await asyncio.wait({printing})
    assert printing.cancelled()
    for process in processes.values():
        await process.http.aclose()
        await process.database.dispose()
