import base64
from datetime import datetime

import pytest
from openbadgeslib.ob3 import ldp, status, verifier
from pydantic import SecretStr

from credentials.app import build
from credentials.settings import Settings
from shared.testing import service_fixtures

from .issuer import Issuer
from .telling import hold_credit, let_time_work


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


globals().update(service_fixtures(lambda url: build(settings(url)), every_answer_told=True))


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
