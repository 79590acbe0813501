from pydantic import SecretStr

from catalogue.app import build
from catalogue.settings import Settings
from shared.testing import service_fixtures

globals().update(service_fixtures(lambda url: build(Settings(database_url=url, feed_secret=SecretStr("test")))))
