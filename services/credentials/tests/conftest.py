import base64

from pydantic import SecretStr

from credentials.app import build
from credentials.settings import Settings
from shared.testing import service_fixtures


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


globals().update(service_fixtures(lambda url: build(settings(url)), every_refusal_told=True))
