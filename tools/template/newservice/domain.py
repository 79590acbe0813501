"""The rules: pure functions and errors, without a framework, a clock or a database."""

from shared.errors import Conflict


class NewserviceTitleTaken(Conflict):
    """Titles that differ in case or spaces alone could not be distinguished."""

    remedy = "Choose another title."


def title_key(title: str) -> str:
    """Returns what is equal for titles that read alike."""
    return " ".join(title.casefold().split())
