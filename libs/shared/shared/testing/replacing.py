"""Replace functions of ours by others that can be called as they are."""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, Signature, iscoroutinefunction, isroutine, signature
from typing import Any


class CalledOtherwise(TypeError):
    """A replacement cannot be called as what it replaces: it would fail by that, and not by what it does."""


@dataclass(frozen=True)
class Faithful:
    """Replaces attributes by `put(owner, name, instead)`, such as pytest's `MonkeyPatch.setattr`, and functions by none
    that are called otherwise."""

    put: Callable[[Any, str, Any], None]  # Any: whatever is changed

    def setattr(self, owner: Any, name: str, instead: Any) -> None:  # Any: whatever is changed
        """Replace an attribute. Raises CalledOtherwise."""
        check_called_alike(getattr(owner, name), instead)
        self.put(owner, name, instead)


def check_called_alike(replaced: Any, instead: Any) -> None:  # Any: whatever is changed
    """Check that a function takes the calls of the one that it replaces, with and without what may be left out, and is
    awaited if that is. Raises CalledOtherwise."""
    if not (isroutine(replaced) and isroutine(instead)):
        return
    before, after = signature(replaced), signature(instead)
    for left_out in (False, True):
        arguments, named = _call(before, left_out=left_out)
        try:
            after.bind(*arguments, **named)
        except TypeError as error:
            raise CalledOtherwise(f"{replaced.__qualname__}{before} is replaced by {after}: {error}") from error
    if iscoroutinefunction(replaced) != iscoroutinefunction(instead):
        raise CalledOtherwise(f"of {replaced.__qualname__} and what replaces it only one is awaited")


def _call(called: Signature, *, left_out: bool) -> tuple[list[str], dict[str, str]]:
    """Return the arguments by position and by name of a call; `left_out`: without those that have defaults."""
    wanted = [one for one in called.parameters.values() if not (left_out and one.default is not Parameter.empty)]
    by_position = {Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD}
    arguments = [one.name for one in wanted if one.kind in by_position]
    return arguments, {one.name: one.name for one in wanted if one.kind is Parameter.KEYWORD_ONLY}
