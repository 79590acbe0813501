"""What docs/rules.md lists, for tests that hold the code to it."""

import re
from pathlib import Path
from typing import Final

RULES: Final = Path(__file__).parents[4] / "docs" / "rules.md"


def endings_of_holds() -> dict[str, list[str]]:
    """Return the endings of each hold, by its id in docs/rules.md, "Holds"."""
    rows = re.findall(r"^\| (H\d) \|[^|]*\|[^|]*\| ([^|]*) \|$", RULES.read_text("utf-8"), re.MULTILINE)
    return {id_: endings.split("; ") for id_, endings in rows}
