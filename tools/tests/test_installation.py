"""What bars a start is printed in one line that names the file."""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from embedded import installation, people
from embedded.installation import Unusable
from embedded.postgres import Postgres, PostgresError
from embedded.provider.books import Books
from embedded.services import SECRETS, has_secrets, keep_secrets
from shared.testing.source import syntax_tree

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "embedded")


def refused(data: Path, **further: str) -> str:
    """What a start on these data says that does not come up."""
    env = {**os.environ, "MC_DATA": str(data), "MC_PORT": "0", **further}
    done = subprocess.run(COMMAND, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stderr
    return done.stderr


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    return folder


def test_a_refusal_after_the_log_is_open_is_one_line_and_where_to_read_more(data):
    printed = refused(data).splitlines()
    assert printed[0].startswith("MC_PORT is '0'")
    assert printed[1:] == [f"(more in {data / 'platform.log'})"]
    assert "Traceback" in (data / "platform.log").read_text()


def test_a_refusal_before_the_log_is_open_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    [line] = refused(tmp_path / "file").splitlines()
    assert line.startswith(f"{tmp_path / 'file'} cannot be made")
    (tmp_path / "data/platform.log").mkdir(parents=True)
    [line] = refused(tmp_path / "data").splitlines()
    assert "platform.log" in line


def test_a_folder_of_ones_own_that_is_closed_is_not_said_to_be_anothers(data, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may do anything
    monkeypatch.setattr(os, "umask", lambda _: 0)
    with pytest.raises(Unusable, match="yours but closed to you"):
        installation.make_private(data)


def test_nobody_leaves_the_program_inside_except_star():
    """Python 3.11.2 puts what is raised there into a group, which is printed with its traces."""
    folders = ("tools", "libs", "services", "gateway", "bench")
    for file in [file for folder in folders for file in (ROOT / folder).rglob("*.py")]:
        for node in ast.walk(syntax_tree(file.read_text())):
            if isinstance(node, ast.TryStar):
                inside = [one for handler in node.handlers for part in handler.body for one in ast.walk(part)]
                assert not [one for one in inside if isinstance(one, ast.Raise)], file
                assert "exit" not in {one.attr for one in inside if isinstance(one, ast.Attribute)}, file


@pytest.mark.parametrize("lost", [*SECRETS, None])
def test_secrets_that_lack_one_or_have_another_type_are_damaged(data, lost):
    made = keep_secrets(data)
    assert has_secrets(data)
    for wrong in (..., 1, None, "", "short", "ä" * 44):
        printed = {} if lost is None else {**made, lost: wrong}
        if wrong is ...:
            printed.pop(lost, None)
        (data / "secrets.json").write_text(json.dumps(printed))
        assert not has_secrets(data), wrong


def test_a_start_on_a_cluster_whose_secrets_are_incomplete_is_refused(data):
    (data / "postgres/cluster").mkdir(parents=True)
    (data / "secrets.json").write_text("{}")
    printed = refused(data, MC_PORT="22900")
    assert printed.startswith(f"{data / 'secrets.json'} is missing or damaged")
    assert "Traceback" not in printed
    assert (data / "secrets.json").read_text() == "{}"


@pytest.mark.parametrize("content", ["[]", '{"marker": 1}', '{"marker": {"role": "marker"}}', "{"])
def test_sample_accounts_of_another_shape_are_damaged(data, content):
    (data / "people.json").write_text(content)
    with pytest.raises(Unusable, match=r"people\.json is damaged"):
        people.known(data)


def test_sample_accounts_that_are_stated_in_numbers_are_damaged(data):
    (data / "people.json").write_text('{"marker": {"role": "marker", "email": "a@b.example", "password": 7}}')
    with pytest.raises(Unusable, match=r"people\.json is damaged"):
        people.known(data)


def test_damaged_books_of_the_sandbox_are_named(data):
    file = data / "provider.sqlite"
    file.write_bytes(b"no database" * 500)
    with pytest.raises(Unusable, match=r"provider\.sqlite is damaged"):
        Books(file)
    file.unlink()
    Books(file).close()
    for kind, body in (("payment", "no JSON"), ("unknown", "{}")):
        file.unlink()
        books = Books(file)
        books._file.execute("insert into records values (?, 'a', ?)", (kind, body))
        books.close()
        with pytest.raises(Unusable, match=r"provider\.sqlite is damaged"):
            Books(file)


async def test_a_cluster_without_its_version_is_named(data):
    (data / "cluster").mkdir()
    (data / "cluster/base").mkdir()
    with pytest.raises(PostgresError, match=r"PG_VERSION is missing"):
        await Postgres(data).start()
    assert (data / "cluster/base").exists()
    shutil.rmtree(data)


def test_ctrl_c_while_it_is_still_being_read_says_nothing(data):
    process = subprocess.Popen(COMMAND, env={**os.environ, "MC_DATA": str(data)}, stderr=subprocess.PIPE, text=True)
    maps = Path(f"/proc/{process.pid}/maps")
    try:
        while "_socket" not in maps.read_text():  # of the first of its imports
            assert process.poll() is None
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        _, printed = process.communicate(timeout=60)
        assert (printed, process.returncode) == ("", -signal.SIGINT)
    finally:
        process.terminate()  # else one that has come up would stay
