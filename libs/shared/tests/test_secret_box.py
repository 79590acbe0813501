"""Small secrets, encrypted."""

import pytest

from shared.secret_box import SecretBox, SecretBoxError, derive_key


def test_what_is_sealed_opens_only_under_its_name_and_key() -> None:
    secret_box = SecretBox(bytes(range(32)))
    sealed = secret_box.seal(b"secret", "one")
    assert b"secret" not in sealed
    assert secret_box.open(sealed, "one") == b"secret"
    for other, name in ((secret_box, "two"), (SecretBox(bytes(32)), "one")):
        with pytest.raises(SecretBoxError):
            other.open(sealed, name)
    for changed in (sealed[:-1], sealed[:12], sealed[:5], b"", sealed[:-1] + bytes([sealed[-1] ^ 1])):
        with pytest.raises(SecretBoxError):
            secret_box.open(changed, "one")


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_key_has_32_bytes(size) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SecretBox(bytes(size))


def test_keys_of_two_purposes_differ() -> None:
    keys = {derive_key(bytes(32), purpose) for purpose in ("one", "two")} | {bytes(32)}
    assert len(keys) == 3
