"""A real RabbitMQ: from the system's package, else in Docker."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from embedded import folders, ports
from embedded.process import Process

IMAGE = "rabbitmq:4.1-alpine"
START_PATIENCE = 120.0  # seconds; a cold start takes 5 to 15
ANSWER_PATIENCE = 1.0  # seconds for one greeting
CTL_PATIENCE = 60.0  # seconds
AMQP_GREETING = b"AMQP\x00\x00\x09\x01"
PACKAGED = Path("/usr/lib/rabbitmq/bin")  # unlike Debian's commands in /usr/sbin, these do not change the user


class BrokerError(RuntimeError):
    """RabbitMQ does not run, or a command of it failed; the message has its output."""


class BrokerMissing(BrokerError):
    """Neither RabbitMQ nor a Docker engine is installed."""


class RabbitMQ:
    """One RabbitMQ node whose state is under `directory`, reachable from this machine alone.

    It shares nothing with any other node here: name, ports, epmd, cookie and data are its own. It ends with
    this process, even if this one is killed. The same object can be stopped, killed and started again; its
    address stays. From the system's package the data outlive stop(); in Docker they outlive kill() and
    restart() only.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = Path(os.path.realpath(directory))
        self.log = self.directory / "rabbitmq.log"
        self.port = ports.suggest(3)  # the next two are for Erlang
        self._node: _Package | _Container | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def running(self) -> bool:
        return self._node is not None and self._node.server.running

    async def start(self) -> Self:
        """Start the node; returns once it answers in AMQP.

        Raises BrokerMissing; BrokerError when it is already running or does not come up.
        """
        if self.running:
            raise BrokerError(f"this RabbitMQ in {self.directory} is already started")
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = await folders.lock(self.directory, "RabbitMQ", BrokerError)
        try:
            if self._node is None:
                self._node = await _choose(self.directory, self.port)
            self._node.start(self.log, lock)
        finally:
            os.close(lock)
        try:
            await self._until_it_answers(self._node.server)
        except BaseException:
            await self.stop()
            raise
        return self

    async def stop(self) -> None:
        """Shut down in good order; does nothing when it is not running."""
        if self._node:
            node, self._node = self._node, None
            await node.stop()

    async def kill(self) -> None:
        """Kill the node and all its processes with SIGKILL; start() brings it back with its data.

        RabbitMQ's own weakness: a quorum queue declared in the second before may never find a leader again
        (seen with 3.10.8; compare rabbitmq-server issue 10070). Tests wait two seconds after declaring.
        """
        await self._running().kill()

    async def restart(self) -> None:
        """Shut down in good order and start again, with the data."""
        await self._running().halt()
        await self.start()

    async def freeze(self) -> None:
        """Stop the node until thaw(); connections stay open."""
        await self._running().freeze()

    async def thaw(self) -> None:
        await self._running().thaw()

    async def ctl(self, *arguments: str) -> str:
        """Run `rabbitmqctl --quiet`, e.g. with ("purge_queue", name) or ("eval", erlang). Returns what it prints.

        Raises BrokerError when it fails or takes longer than a minute.
        """
        node = self._running()
        return await _run([*node.ctl, "--quiet", *arguments], node.environment)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _running(self) -> "_Package | _Container":
        if self._node is None or not self._node.server.running:
            raise BrokerError(f"the RabbitMQ in {self.directory} is not running")
        return self._node

    async def _until_it_answers(self, server: Process) -> None:
        deadline = asyncio.get_running_loop().time() + START_PATIENCE
        while not await _answers(self.port):
            if not server.running:
                raise BrokerError(f"RabbitMQ ended at its start (log: {self.log}):\n{server.output()}")
            if asyncio.get_running_loop().time() > deadline:
                raise BrokerError(
                    f"RabbitMQ did not answer within {START_PATIENCE:.0f} s (log: {self.log}):\n{server.output()}"
                )
            await asyncio.sleep(0.1)


class _Package:
    """The node as a process of the system's package."""

    server: Process

    def __init__(self, directory: Path, first_port: int, commands: Path) -> None:
        # Erlang's scripts break on a path with a space, so they get the folder by a short symbolic link.
        self._directory, self._short = directory, folders.short(directory, "node")
        self._commands, self._epmd_port = commands, first_port + 2
        self.ctl: Sequence[str | Path] = [commands / "rabbitmqctl"]
        node = self._short / "node"
        self.environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C.UTF-8",
            "HOME": str(node),  # of the Erlang cookie
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "microcredentials@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(first_port),
            "RABBITMQ_DIST_PORT": str(first_port + 1),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",  # not the system node's settings
            # None of these files exists: RabbitMQ's own defaults will do, and reading any file or searching the plugins
            # (none is needed) more than doubles the time a start takes.
            "RABBITMQ_CONFIG_FILE": str(node / "rabbitmq.conf"),
            "ERL_CRASH_DUMP": str(node / "erl_crash.dump"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(node / "advanced.config"),
            "RABBITMQ_PLUGINS_DIR": str(node / "plugins"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(node / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(node / "mnesia"),
            "RABBITMQ_LOG_BASE": str(node / "log"),
            "RABBITMQ_LOGS": "-",
        }

    def start(self, log: Path, lock: int) -> None:
        folders.make_private(self._short, BrokerError)
        (self._short / "node").symlink_to(self._directory, target_is_directory=True)
        (self._directory / "plugins").mkdir(exist_ok=True)
        # Started here, or Erlang would start one that outlives this process.
        self._epmd = Process(
            ["epmd", "-address", "127.0.0.1", "-port", str(self._epmd_port)],
            log=log,
            env=self.environment,
            ending=signal.SIGKILL,
            inherit=(lock,),
        )
        self.server = Process(
            [self._commands / "rabbitmq-server"],
            log=log,
            env=self.environment,
            ending=signal.SIGTERM,
            inherit=(lock,),
        )

    async def halt(self) -> None:
        await self.server.stop()
        await self._epmd.stop()

    async def stop(self) -> None:
        await self.halt()
        folders.remove_short(self._short, self._directory)

    async def kill(self) -> None:
        await self.server.kill()
        await self._epmd.stop()

    async def freeze(self) -> None:
        self.server.freeze()

    async def thaw(self) -> None:
        self.server.thaw()


class _Container:
    """The node in a container, which `docker start --attach` ties to a child process."""

    server: Process

    def __init__(self, name: str) -> None:
        self._name = name
        self.environment = dict(os.environ)
        self.ctl: Sequence[str | Path] = ["docker", "exec", name, "rabbitmqctl"]

    @classmethod
    async def create(cls, directory: Path, port: int) -> Self:
        self = cls(folders.short(directory, "").name)
        with_forced_removal = ["docker", "rm", "--force", "--volumes", self._name]
        await _run(with_forced_removal, self.environment)  # left by a process that was killed
        # The data contain the host's name, so it must stay the same.
        options = ["--name", self._name, "--hostname", self._name, "--publish", f"127.0.0.1:{port}:5672"]
        await _run(["docker", "create", *options, IMAGE], self.environment, patience=600.0)
        return self

    def start(self, log: Path, lock: int) -> None:
        self.server = Process(
            ["docker", "start", "--attach", self._name],
            log=log,
            env=self.environment,
            ending=signal.SIGTERM,
            inherit=(lock,),
        )

    async def halt(self) -> None:
        await self.server.stop()

    async def stop(self) -> None:
        await self.halt()
        await _run(["docker", "rm", "--force", "--volumes", self._name], self.environment)

    async def kill(self) -> None:
        await _run(["docker", "kill", self._name], self.environment)
        await self.server.stop()

    async def freeze(self) -> None:
        await _run(["docker", "pause", self._name], self.environment)

    async def thaw(self) -> None:
        await _run(["docker", "unpause", self._name], self.environment)


async def _choose(directory: Path, first_port: int) -> _Package | _Container:
    """Choose the system's package before Docker: it starts sooner, and kill() hits the real process."""
    if commands := _commands():
        return _Package(directory, first_port, commands)
    try:
        await _run(["docker", "info"], os.environ)
    except BrokerError as error:
        raise BrokerMissing(
            "a RabbitMQ is needed, and neither its package nor a Docker engine is here. Install one of them "
            "(Debian and Ubuntu: apt-get install rabbitmq-server; macOS: brew install rabbitmq; or start "
            f"Docker), or name a running broker in AMQP_URL. Docker said: {error}"
        ) from error
    return await _Container.create(directory, first_port)


def _commands() -> Path | None:
    """Return the folder of the package's commands, or None."""
    if PACKAGED.is_dir():
        return PACKAGED
    command = shutil.which("rabbitmq-server")
    return Path(command).resolve().parent if command else None


async def _run(command: Sequence[str | Path], environment: Mapping[str, str], patience: float = CTL_PATIENCE) -> str:
    """Run a command. Returns its output; raises BrokerError when it is missing, fails or exceeds `patience` seconds."""
    name = " ".join(map(str, [Path(command[0]).name, *command[1:3]]))
    try:
        done = await asyncio.to_thread(
            subprocess.run,
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=patience,
            check=False,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise BrokerError(f"{name}: {error}") from error
    if done.returncode:
        raise BrokerError(f"{name}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


async def _answers(port: int) -> bool:
    """Whether a broker answers the AMQP greeting: an open port alone may be Docker's, or not be ready yet."""
    try:
        async with asyncio.timeout(ANSWER_PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(AMQP_GREETING)
                return await reader.read(1) == b"\x01"  # a method frame: connection.start
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
