"""Replays on a running platform: every kind of registration, broken off and taken up again, and at length."""

import asyncio
import csv
import json
import logging
import os
import re
import signal
import sys
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from embedded import people, ports
from embedded.journey import until
from embedded.multiprocess import service_processes
from embedded.platform import databases, running
from embedded.process import Process
from embedded.replay import deliveries
from embedded.replay.__main__ import replay
from embedded.services import Deployment, keep_secrets
from shared.messaging.inprocess import InProcessBus

from .registrations import write

# Learner, module, presentation, attempts before, result, registered and unregistered on, score.
MADE_UP = [
    (1, "AAA", "2013J", 0, "Pass", -20, None, 70),
    (1, "BBB", "2014J", 0, "Distinction", -20, None, 80),  # two modules: a title
    (2, "AAA", "2013J", 1, "Pass", -20, None, 55),  # a resit
    (3, "AAA", "2013J", 4, "Pass", -20, None, 55),  # the fourth attempt needs a new enrolment
    (4, "AAA", "2013J", 0, "Fail", -20, None, 30),
    (4, "AAA", "2014J", 1, "Pass", -20, None, 60),  # a resit, a year later
    (5, "AAA", "2013J", 2, "Fail", -20, None, 30),
    (5, "AAA", "2014J", 3, "Fail", -20, None, None),  # attempts were used up: bought again
    (6, "AAA", "2013J", 0, "Withdrawn", -20, -10, None),  # cools off
    (6, "AAA", "2014J", 1, "Withdrawn", -20, 90, 40),  # buys again, hands in, leaves
    (7, "AAA", "2013J", 0, "Withdrawn", -90, 30, None),  # leaves
    (7, "AAA", "2014J", 1, "Distinction", -20, None, 90),
    (8, "AAA", "2013J", 0, "Pass", -20, None, 60),
    (8, "AAA", "2014J", 1, "Withdrawn", -90, 30, None),  # has passed: is refused
    (9, "BBB", "2014J", 0, "Pass", 3, None, 60),  # in two tabs: the second order is refused
    (10, "AAA", "2013J", 0, "Fail", -20, None, 30),
    (10, "AAA", "2014J", 1, "Withdrawn", -20, -10, None),  # cools off from what was not bought anew: leaves
    (11, "AAA", "2013J", 3, "Withdrawn", -90, 30, None),  # uses up an enrolment, leaves the next
]


LEARNERS = int(os.environ.get("LEARNERS", "50"))
"""How many are replayed. Every kind of registration is met by the made-up ones, and what several do at once by fifty."""


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    modules = sorted({(module, presentation) for _, module, presentation, *_ in MADE_UP})
    assessments = {one: number for number, one in enumerate(modules, start=1)}

    def write(name, head, rows):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([head.split(), *rows])

    key = "code_module code_presentation id_student"
    write(
        "assessments",
        "code_module code_presentation id_assessment weight",
        [(*k, n, 100) for k, n in assessments.items()],
    )
    write(
        "studentAssessment",
        "id_assessment id_student score",
        [(assessments[m, p], who, score) for who, m, p, *_, score in MADE_UP if score is not None],
    )
    write(
        "studentInfo",
        f"{key} num_of_prev_attempts final_result",
        [(m, p, who, before, result) for who, m, p, before, result, *_ in MADE_UP],
    )
    write(
        "studentRegistration",
        f"{key} date_registration date_unregistration",
        [(m, p, who, on, "?" if off is None else off) for who, m, p, _, _, on, off, _ in MADE_UP],
    )
    return folder


@pytest.fixture(scope="module")
def registrations(open_university, tmp_path_factory):
    """Real registrations where they are at hand, else as many of nobody."""
    return open_university or write(tmp_path_factory.mktemp("registrations"))


@pytest.fixture(scope="module")
async def platform(tmp_path_factory):
    """The whole platform in this process, with accounts and without the sample catalogue."""
    folder = tmp_path_factory.mktemp("replays")
    assigned = ports.assign({ports.VARIABLE: str(ports.suggest(len(ports.NAMES)))})
    logging.disable(logging.INFO)  # a replay is a hundred thousand lines
    async with AsyncExitStack() as stack:
        _, urls = await stack.enter_async_context(databases(folder))
        deployment = Deployment(folder, assigned, urls, secrets=keep_secrets(folder))
        listeners = stack.enter_context(ports.listening(assigned, public=()))
        processes = await stack.enter_async_context(running(deployment, InProcessBus(), listeners))
        await people.open_accounts(processes["gateway"].database, folder)
        yield deployment
    logging.disable(logging.NOTSET)


def numbers(printed):
    """What the table says of the run itself; the ledger and the event logs are of the whole platform."""
    rows = re.findall(r"^(.*\S)  +([\d,|\- ]+\d)  +(\d+)$", printed, re.MULTILINE)
    whole_platform = ("sum of", "study records", "badges, titles", "committed events", "events for", "retries")
    return {
        what: (count.strip(), differences) for what, count, differences in rows if not what.startswith(whole_platform)
    }


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def start(platform, made_up, logs):
    """Begin a replay of the made-up registrations, as a process."""
    arguments = ["--learners", "100", "--base-url", platform.url("gateway"), "--data", str(platform.folder)]

    def begin(run):
        command = [sys.executable, "-m", "embedded.replay", str(made_up), *arguments, "--run", run]
        return Process(command, log=logs / f"{run}.log", env=dict(os.environ), ending=signal.SIGTERM)

    return begin


@pytest.fixture(scope="module")
async def uninterrupted(start, logs):
    """What a replay prints that nothing breaks off."""
    whole = start("whole")
    assert await whole.wait() == 0, whole.output()
    return (logs / "whole.log").read_text()


async def test_every_kind_of_registration_reconciles(uninterrupted):
    assert numbers(uninterrupted) == {
        "confirmed payments' lines = activations + recorded compensations": ("34 | 34 | 0", "0"),
        "activations refused by enrolment = compensations recorded by payments": ("0 | 0", "0"),
        "sales on the ledger = what was paid for the lines - what goes back (minor units)": (
            "1,584,000 | 1,584,000",
            "0",
        ),
        "withdrawals asked for = enrolments cancelled as withdrawn": ("8 | 8", "0"),
        "cooling-off refunds asked for = enrolments cancelled as refunded": ("2 | 2", "0"),
        "courses passed before = purchases refused": ("1 | 1", "0"),
        "courses passed in the data = ratified passes = credits awarded = badges issued": ("16 | 16 | 16 | 16", "0"),
        "credits = credits in the study records = badges in the study records": ("16 | 16 | 16", "0"),
        "learners with two modules in the data = learners offered a title": ("1 | 1", "0"),
        "no enrolment above 3 attempts; the most is": ("3", "0"),
        "work handed in and not withdrawn = results ratified": ("48 | 48", "0"),
    }
    assert "NOT CHECKED" not in uninterrupted


async def _has(journal, steps):
    """Whether so many steps are noted."""
    return True if journal.exists() and journal.read_bytes().count(b"\n") >= steps else None


@pytest.mark.slow
async def test_a_replay_that_is_killed_goes_on_and_ends_the_same(platform, start, uninterrupted, logs):
    steps_in_all = (platform.folder / "replay-whole.jsonl").read_bytes().count(b"\n")
    for share in (0.1, 0.4, 0.6, 0.8):
        broken = start("broken")
        await until(
            lambda steps=steps_in_all * share: _has(platform.folder / "replay-broken.jsonl", steps),
            f"{share:.0%} of {steps_in_all} steps are done",
            seconds=300,
        )
        assert broken.running, broken.output()
        await broken.kill()
    last = start("broken")
    assert await last.wait() == 0, last.output()
    whole, broken_off = numbers(uninterrupted), numbers((logs / "broken.log").read_text())
    assert whole == broken_off
    assert len(whole) == 11


async def test_the_databases_of_another_platform_are_not_judged(platform, tmp_path):
    assert await deliveries.look(platform.folder, str(uuid4())) is None
    assert await deliveries.look(tmp_path, str(uuid4())) is None


async def test_a_journal_of_another_platform_is_refused(platform, made_up, capfd):
    (platform.folder / "replay-other.jsonl").write_text(
        "".join(
            json.dumps({"step": step, "done": done}) + "\n"
            for step, done in (("secret", {"key": "00"}), ("platform", {"institution_id": "x"}))
        )
    )
    command = [sys.executable, "-m", "embedded.replay", str(made_up), "--run", "other"]
    command += ["--base-url", platform.url("gateway"), "--data", str(platform.folder)]
    process = await asyncio.create_subprocess_exec(*command)
    assert await process.wait() == 1
    assert "a replay on another platform" in capfd.readouterr().err


@pytest.mark.slow
async def test_many_learners_in_one_process(platform, registrations, capsys):
    held = await replay(registrations, learners=LEARNERS, base_url=platform.url("gateway"), platform=platform.folder)
    assert held, capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.broker
async def test_many_learners_on_separate_services_with_a_broker(tmp_path, registrations, capsys):
    assigned = ports.assign({ports.VARIABLE: str(ports.suggest(len(ports.NAMES)))})
    async with service_processes(tmp_path / "apart", assigned) as services:
        folder, url = services.deployment.folder, services.deployment.url("gateway")
        held = await replay(registrations, learners=LEARNERS, base_url=url, platform=folder)
    assert held, capsys.readouterr().out
