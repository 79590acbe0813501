"""What is an address, and that nothing else becomes one or fails otherwise than by being refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.addresses import address_of

ADDRESSES = ("ada@example.org", "o'brien+x@exa-mple.co.uk", "straße@bücher.example", "a.b_c@x.y", "山田@例え.jp")
NONE = (
    "",
    "ada",
    "ada@example",
    "x@[a.com",
    ".:@example.com",
    'x@example.x,"',
    "=?utf-8?q??=@example.com",
    "me@example.org,boss",
    "root;me@example.org",
    "ada@[example.org",
    "<@b.c:",
    "a..b@example.org",
    "a@example..org",
    "a@b.c\n",
    "a@b.c\r\nBcc: x@y.z",
    "a b@example.org",
    '"a"@example.org',
    "Ada <ada@example.org>",
    "a\u200b@example.org",
    "a" * 250 + "@b.cd",
)


@pytest.mark.parametrize("text", ADDRESSES)
def test_an_address_is_one_mailbox(text):
    assert address_of(text).addr_spec == text


@pytest.mark.parametrize("text", NONE)
def test_what_is_none_is_refused(text):
    with pytest.raises(ValueError, match="not an e-mail address"):
        address_of(text)


@given(st.text(alphabet='a@.[]<>(),:;"\\=?- \t\n\u00e9\u200b', max_size=20))
def test_whatever_is_taken_is_that_mailbox_and_nothing_fails_otherwise(text):
    try:
        address = address_of(text)
    except ValueError:
        return
    assert address.addr_spec == text


@pytest.mark.parametrize(
    "text",
    [
        "registrar\ufe0f@platform.example",
        "registrar\u034f@platform.example",
        "registrar\u3164@platform.example",
        "registrar\u2800@platform.example",
        "registr\u0430r@platform.example",
        "\uff52egistrar@platform.example",
        "\ufb01nance@platform.example",
        "registrar@\uff50latform.example",
        "registrar@pl\u0430tform.example",
    ],
)
def test_an_address_that_looks_like_another_is_none(text):
    with pytest.raises(ValueError, match="not an e-mail address"):
        address_of(text)


@pytest.mark.parametrize(
    "text",
    ["\u0438\u0432\u0430\u043d@\u043f\u043e\u0447\u0442\u0430.example", "jos\u00e9@example.org", "\u5c71\u7530\u305f\u308d\u3046@\u4f8b\u3048.example",
     "\u0438\u0432\u0430\u043d.petrov@example.org", "\u0905\u0928\u093f\u0932@example.org"],
)  # fmt: skip
def test_an_address_in_the_letters_of_its_owner_is_one(text):
    assert address_of(text).addr_spec == text
