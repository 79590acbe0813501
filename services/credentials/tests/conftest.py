import base64
import json
import subprocess
from datetime import datetime
from pathlib import Path

import pytest
from openbadgeslib.ob3 import ldp, status, verifier
from pydantic import SecretStr

from credentials.app import build
from credentials.settings import Settings
from shared.ids import new_id
from shared.testing.services import BuildService

from .announcements import consume, hold_credit, let_time_work, registered
from .degrees import programme
from .issuer import Issuer
from .shares import P, Q, know


def settings(url: str) -> Settings:
    return Settings(
        database_url=url,
        feed_secret=SecretStr("test"),
        public_url="https://badges.example.ac.uk",
        awarding_body="University of Example",
        wrapping_key=SecretStr(base64.b64encode(bytes(range(32))).decode()),
        webhooks_reach_loopback=True,
        evidence_url="memory:///",
    )


@pytest.fixture(scope="session")
def build_service() -> BuildService:
    return lambda url: build(settings(url))


@pytest.fixture
async def issuer(service, session, clock, monkeypatch) -> Issuer:
    """With one learner who holds two signed badges, DS01 and DS02. The other verifier is given the same clock."""

    class Now(datetime):
        @classmethod
        def now(cls, _=None):
            return clock()

    for module in (ldp, status, verifier):
        monkeypatch.setattr(module, "datetime", Now)
    made = Issuer(service, session)
    await hold_credit(session, made.learner, DS=2)
    await let_time_work(service)
    return made


@pytest.fixture
async def applicant(service, session, clock):
    """A learner with four courses, and a programme that takes in credit."""
    learner = new_id()
    await consume(session, registered(learner))
    await hold_credit(session, learner, DS=4)
    await let_time_work(service)
    await know(session, P, Q)
    await consume(session, programme())
    return learner


@pytest.fixture
def judge(node_tools, clock):
    """What npm's @digitalbazaar/vc says of credentials, given the pages it fetches."""

    def ask(pages: dict, *credentials: dict | str) -> list[dict]:
        asked = {"pages": pages, "credentials": credentials, "now": clock().isoformat()}
        done = subprocess.run(
            ["node", "judge.mjs"],
            cwd=node_tools,
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    return ask


@pytest.fixture
def cases() -> list[dict]:
    """The worked cases of award titles."""
    return json.loads((Path(__file__).parents[3] / "tests/data/award-cases.json").read_text())["cases"]
