"""Every command at the command line says in one line what is wrong: with the database, and ends with 1; with what it
was given by its environment, and ends with 2."""

import argparse
import base64
import os
import runpy
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import takewhile
from pathlib import Path
from unittest.mock import patch
from uuid import UUID

import pytest

from embedded import ports
from embedded.services import SECRETS, Deployment
from embedded.workspace import NAMES
from gateway import staff
from shared import cli

EVERY_MODULE = (*NAMES, "gateway.staff")
MODULES = ("payments", "enrolment", "gateway.staff")
"""With every command there is: the shared ones, those of one service's own, and those of staff."""
WITHOUT_DATABASE = {"openapi", "run"}
VALUES = {UUID: "0193e7a4-5b5c-7c3a-9d59-0c4f5a1b2c3d", Path: __file__}
WORD = "ada@example.org"
_RECOVERING = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is in recovery mode\0\0"
_IS_TLS_ASKED_FOR = 8
"""So many bytes ask for it; what begins a session is longer."""


@contextmanager
def recovering() -> Iterator[int]:
    """A port where PostgreSQL recovers after a crash."""
    answer = b"E" + (len(_RECOVERING) + 4).to_bytes(4, "big") + _RECOVERING
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with closing(peer):
                    if len(peer.recv(1000)) == _IS_TLS_ASKED_FOR:
                        peer.sendall(b"N")
                        peer.recv(1000)
                    peer.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def leaves(parser: argparse.ArgumentParser, before: tuple[str, ...] = ()) -> Iterator[list[str]]:
    """Every command of a parser, with values for what it must be given."""
    wanted: list[str] = []
    deeper: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            deeper = action.choices
        elif action.required and action.nargs != "*":
            value = next(iter(action.choices)) if action.choices else VALUES.get(action.type, WORD)
            wanted += [action.option_strings[0], value] if action.option_strings else [value]
    if not deeper:
        yield [*before, *wanted]
    for name, inner in deeper.items():
        yield from leaves(inner, (*before, name))


def commands_of(module: str) -> list[list[str]]:
    """What may be typed after `python -m <module>`."""
    found: list[argparse.ArgumentParser] = []

    def parse(parser: argparse.ArgumentParser, *_: object) -> None:
        found.append(parser)
        raise SystemExit

    with patch.object(argparse.ArgumentParser, "parse_args", parse), pytest.raises(SystemExit):
        start(module)
    return [one for one in leaves(found[0]) if one[0] not in WITHOUT_DATABASE]


@pytest.mark.parametrize("module", EVERY_MODULE)
def test_every_command_is_in_the_operators_paper(module):
    paper = (Path(__file__).parents[1] / "docs/operating.md").read_text()
    given = {*VALUES.values(), WORD}
    names = {" ".join(takewhile(lambda word: word not in given and word[0] != "-", one)) for one in commands_of(module)}
    assert {name for name in names if f"`{name}`" not in paper} == set()


def start(module: str) -> None:
    if module == staff.__name__:
        staff.main()
    else:
        sys.modules.pop(f"{module}.__main__", None)  # runpy warns of one that another test has imported
        runpy.run_module(module, run_name="__main__")


@pytest.fixture
def database(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """It takes no connections."""
    with recovering() as port:
        service = module.partition(".")[0]
        urls = {service: f"postgresql+asyncpg://{service}:secret@127.0.0.1:{port}/{service}"}
        secrets: dict[str, str] = dict.fromkeys(SECRETS, base64.b64encode(bytes(32)).decode())
        deployment = Deployment(tmp_path, ports.assign({}), urls, secrets=secrets)
        for variable, value in deployment.environment(service).items():
            monkeypatch.setenv(variable, value)
        monkeypatch.setattr(cli, "log_as_json", lambda *_, **__: None)
        monkeypatch.setattr(staff, "_read_password", lambda: "a long pass phrase of mine")
        yield


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_a_command_whose_database_is_away_says_so_in_a_line(module, database, monkeypatch, capsys):
    commands = commands_of(module)
    assert len(commands) >= 7
    wrong: dict[str, object] = {}
    for command in commands:
        monkeypatch.setattr(sys, "argv", [module, *command])
        try:
            start(module)
        except SystemExit as end:
            printed = capsys.readouterr()
            if end.code != 1 or printed.out or printed.err.count("\n") != 1 or not printed.err.startswith("not done: "):
                wrong[" ".join(command)] = (end.code, printed)
        except Exception as error:  # noqa: BLE001 - reported with all others
            wrong[" ".join(command)] = error
    assert not wrong


@pytest.mark.parametrize("module", EVERY_MODULE)
@pytest.mark.parametrize(
    ("settings", "printed"),
    [
        ({}, "settings: missing: MC_DATABASE_URL, MC_FEED_SECRET"),
        ({"MC_PORT": "many", "MC_DATABASE_URL": "x"}, "settings: missing: MC_FEED_SECRET"),
        ({"MC_PORT": "many", "MC_DATABASE_URL": "x"}, "; MC_PORT: Input should be a valid integer"),
        ({"MC_FEEDS": "{"}, 'settings: error parsing value for field "feeds"'),
    ],
)
def test_settings_that_are_missing_or_wrong_are_named_in_a_line(module, settings, printed, monkeypatch, capsys):
    for variable in [name for name in os.environ if name.startswith("MC_")]:
        monkeypatch.delenv(variable)
    for variable, value in settings.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(sys, "argv", [module, "list-keys" if module == staff.__name__ else "migrate"])
    with pytest.raises(SystemExit) as end:
        start(module)
    said = capsys.readouterr()
    assert end.value.code == 2
    assert not said.out
    assert said.err.count("\n") == 1
    assert printed in said.err
