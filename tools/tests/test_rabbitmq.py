import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import aio_pika
import pytest

from embedded import folders, rabbitmq
from embedded.rabbitmq import BrokerError, BrokerMissing, RabbitMQ

pytestmark = pytest.mark.broker

QUORUM: dict[str, Any] = {"x-queue-type": "quorum"}


@pytest.fixture(scope="module")
async def broker(tmp_path_factory):
    async with RabbitMQ(tmp_path_factory.mktemp("données à part") / "rabbitmq") as running:
        yield running


async def publish(broker, queue, body):
    async with await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(queue, durable=True, arguments=QUORUM)
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, queue, timeout=10)


async def take(broker, queue):
    async with await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel()
        found = await channel.declare_queue(queue, durable=True, arguments=QUORUM)
        message = await found.get(timeout=20)
        await message.ack()
        return message.body


async def test_a_confirmed_message_survives_kill_9_and_restart(broker):
    address = broker.url
    await publish(broker, "kept", b"1")
    await asyncio.sleep(2)  # see kill()
    await broker.kill()
    with pytest.raises(OSError, match="Connect"):
        await aio_pika.connect(broker.url)
    await broker.start()
    await broker.restart()
    assert broker.url == address
    assert await take(broker, "kept") == b"1"


async def test_a_frozen_broker_hangs_and_thaws(broker):
    async with await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("frozen", durable=True, arguments=QUORUM)
        await broker.freeze()
        with pytest.raises(TimeoutError):
            await channel.default_exchange.publish(aio_pika.Message(b"1"), "frozen", timeout=0.5)
        await broker.thaw()
        await channel.default_exchange.publish(aio_pika.Message(b"2"), "frozen", timeout=10)


async def test_an_operators_commands_reach_this_node(broker):
    await publish(broker, "full", b"1")
    await broker.ctl("purge_queue", "full")
    counts = dict(line.split("\t") for line in (await broker.ctl("list_queues")).splitlines()[1:])
    assert counts["full"] == "0"
    assert (await broker.ctl("eval", "1 + 1.")).strip() == "2"


async def test_a_command_that_fails_says_what_rabbitmqctl_said(broker):
    with pytest.raises(BrokerError, match="purge_queue: Error:\nnot_found"):
        await broker.ctl("purge_queue", "no_such_queue")


def test_only_loopback_listens(broker):
    ports = [f"{broker.port + offset:04X}" for offset in range(3)]
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [fields[1].split(":") for fields in lines if fields[3] == "0A"]
    assert sorted(port for address, port in listening if port in ports) == sorted(ports)
    assert {address for address, port in listening if port in ports} == {"0100007F"}


async def test_the_same_node_is_not_started_twice(broker):
    with pytest.raises(BrokerError, match="already started"):
        await broker.start()


PARENT = """
import asyncio, sys
from pathlib import Path
from embedded.rabbitmq import RabbitMQ
async def main():
    async with RabbitMQ(Path(sys.argv[1])) as broker:
        print("ready", flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


def processes_of(directory: Path) -> list[str]:
    """Programs that hold a file in the folder open, be it only the lock."""
    needle = str(directory.resolve())
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(link.readlink()).startswith(needle) for link in (entry / "fd").iterdir()):
                found.append((entry / "cmdline").read_text())
        except OSError:
            continue  # it ended meanwhile
    return found


@pytest.fixture
def another_process(tmp_path):
    """A Python process that runs a node in tmp_path / "node"."""
    with subprocess.Popen([sys.executable, "-c", PARENT, tmp_path / "node"], stdout=subprocess.PIPE) as parent:
        assert parent.stdout.readline() == b"ready\n"
        yield parent
        parent.kill()
    shutil.rmtree(folders.short((tmp_path / "node").resolve(), "node"), ignore_errors=True)


async def test_a_node_belongs_to_one_and_ends_when_its_parent_is_killed(another_process, tmp_path):
    with pytest.raises(BrokerError, match=f"already running on .*process {another_process.pid}"):
        await RabbitMQ(tmp_path / "node").start()
    programs = " ".join(processes_of(tmp_path / "node"))
    assert "beam" in programs
    assert "epmd" in programs
    another_process.kill()
    for _ in range(100):
        if not processes_of(tmp_path / "node"):
            break
        await asyncio.sleep(0.2)
    assert processes_of(tmp_path / "node") == []


async def test_a_cancelled_start_leaves_nothing_running(tmp_path):
    broker = RabbitMQ(tmp_path / "node")
    start = asyncio.create_task(broker.start())
    await asyncio.sleep(1.5)
    start.cancel()
    await asyncio.wait([start])
    assert start.cancelled()
    assert processes_of(broker.directory) == []


async def test_without_package_and_docker_one_reads_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(rabbitmq, "PACKAGED", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrokerMissing, match=r"apt-get install rabbitmq-server.*Docker.*AMQP_URL"):
        await RabbitMQ(tmp_path / "node").start()


# An engine for one container: it notes what it is asked and, once started, answers the AMQP greeting.
DOCKER = """
import os, pathlib, signal, socket, sys
state = pathlib.Path({state!r})
with (state / "calls").open("a") as calls:
    print(*sys.argv[1:], file=calls)
if sys.argv[1] == "create":
    (state / "port").write_text(sys.argv[sys.argv.index("--publish") + 1].split(":")[1])
if sys.argv[1] == "kill":
    os.kill(int((state / "pid").read_text()), signal.SIGKILL)
if sys.argv[1] == "exec":
    print("said")
if sys.argv[1] == "start":
    (state / "pid").write_text(str(os.getpid()))
    server = socket.create_server(("127.0.0.1", int((state / "port").read_text())))
    while True:
        client = server.accept()[0]
        client.recv(8)
        client.send(bytes([1]))
        client.close()
"""


async def test_docker_serves_where_no_package_is(tmp_path, monkeypatch):
    (tmp_path / "docker.py").write_text(DOCKER.format(state=str(tmp_path)))
    # Not in a first line of its own: the path of our Python may hold a space.
    (tmp_path / "docker").write_text(f"#!/bin/sh\nexec '{sys.executable}' '{tmp_path / 'docker.py'}' \"$@\"\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setattr(rabbitmq, "PACKAGED", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    broker = RabbitMQ(tmp_path / "node")
    async with broker:
        assert await broker.ctl("status") == "said\n"
        await broker.kill()
        await broker.start()
        await broker.freeze()
        await broker.thaw()
        await broker.restart()
    asked = [call.split()[0] for call in (tmp_path / "calls").read_text().splitlines()]
    assert asked == ["info", "rm", "create", "start", "exec", "kill", "start", "pause", "unpause", "start", "rm"]
    assert not broker.running
