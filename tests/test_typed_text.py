"""What somebody types and others are shown turns no direction of writing, in whatever field of whatever service."""

import pkgutil
from importlib import import_module
from typing import Annotated, Any, Final

import pytest
from pydantic import TypeAdapter, ValidationError

from embedded.services import NAMES
from shared.web.content import RequestModel, Text

TURNED: Final = "Countess Lovelace \u202eadA"

COMPARED: Final = {
    *("Affirmation.version", "ClaimRequest.level", "_Compared.honours", "_Compared.name", "ConfirmationCode.code"),
    *("ShareCode.code", "ShareRequest.client_id", "Roles.roles", "OutsideToken.id_token", "Refreshing.refresh_token"),
    *("Credentials.email", "Credentials.password", "AccountRequest.password"),
}
"""Compared with what there is, never kept or shown."""

CHECKED: Final = {"AccountRequest.email", "EndpointRequest.url", "CheckoutRequest.return_url"}
"""Read as an address before it is kept, which has no such character."""


def contents():
    for name in NAMES:
        package = import_module(f"{name}.api")
        for module in pkgutil.walk_packages(package.__path__, f"{name}.api."):
            import_module(module.name)
    waiting = [RequestModel]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            if kind.__module__.partition(".")[0] in NAMES:
                yield kind
            waiting.append(kind)


def takes(field, value):
    declared: Any = Annotated[(field.annotation, "as declared", *field.metadata)]
    try:
        TypeAdapter(declared).validate_python(value)
    except ValidationError:
        return False
    return True


def test_no_field_that_is_shown_takes_what_turns_the_direction():
    kinds = set(contents())
    assert len(kinds) > 50
    found = {
        f"{kind.__name__}.{name}"
        for kind in kinds
        for name, field in kind.model_fields.items()
        if takes(field, TURNED) or takes(field, [TURNED])
    }
    assert found == COMPARED | CHECKED


@pytest.mark.parametrize("character", [chr(one) for one in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))])
def test_each_of_them_is_refused(character):
    with pytest.raises(ValidationError, match="control characters"):
        TypeAdapter(Text).validate_python(f"Ada{character}")


@pytest.mark.parametrize("text", ["عليرضا", "שָׁלוֹם\u200f!", "two\nlines\tand a tab", "\u061cد", "O\u2019Brien"])
def test_what_people_write_is_taken(text):
    assert TypeAdapter(Text).validate_python(text) == text
