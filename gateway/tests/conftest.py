from pydantic import SecretStr

from gateway.app import build
from gateway.settings import Settings
from shared.testing import service_fixtures

SERVICES = ("assessment", "catalogue", "credentials", "enrolment", "payments")


def settings(url: str, **more) -> Settings:
    return Settings(
        database_url=url,
        feed_secret=SecretStr("test"),
        wrapping_key=SecretStr("a wrapping key for the tests only"),
        services={name: "http://127.0.0.1:1" for name in SERVICES},
        rates={"anonymous": (100_000, 1), "person": (100_000, 1), "credentials": (100_000, 1)},
        **more,
    )


globals().update(service_fixtures(lambda url: build(settings(url))))
