"""What a setting must be, and what its reader learns where it is not."""

import base64

import pytest

from shared.settings import ServiceSettings, WrappingKey, read_settings

KEY = base64.b64encode(bytes(range(32))).decode()


class Sealing(ServiceSettings):
    wrapping_key: WrappingKey


@pytest.fixture(autouse=True)
def whole(monkeypatch):
    monkeypatch.setenv("MC_DATABASE_URL", "postgresql+asyncpg://a@b/c")
    monkeypatch.setenv("MC_FEED_SECRET", "feed")


def test_a_wrapping_key_is_32_bytes_in_base64(monkeypatch):
    monkeypatch.setenv("MC_WRAPPING_KEY", KEY)
    assert base64.b64decode(read_settings(Sealing).wrapping_key.get_secret_value()) == bytes(range(32))


@pytest.mark.parametrize(
    "given",
    [
        "a wrapping key of some sufficient length",
        base64.b64encode(bytes(31)).decode(),
        base64.b64encode(bytes(33)).decode(),
        bytes(range(32)).hex(),
        KEY.rstrip("="),
        KEY[:-2] + "9=",  # another spelling of the same bytes
        base64.urlsafe_b64encode(b"\xff" * 32).decode(),
        f" {KEY}",
        "",
    ],
)
def test_another_wrapping_key_stops_the_start_and_is_not_printed(monkeypatch, capsys, given):
    monkeypatch.setenv("MC_WRAPPING_KEY", given)
    with pytest.raises(SystemExit):
        read_settings(Sealing)
    said = capsys.readouterr().err
    assert "MC_WRAPPING_KEY: " in said
    assert "32 random bytes in base64" in said
    assert not given or given not in said
