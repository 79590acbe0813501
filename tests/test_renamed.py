"""Names that were given up stand in the changelog's table of renames alone."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = re.findall(
    r"^\| (.+?) \| .+? \|$",
    (ROOT / "CHANGELOG.md").read_text().partition("### Renamed before the release")[2].partition("\n## ")[0],
    re.MULTILINE,
)
STAY = {
    *(
        "letters",
        "letter_id",
        "parked_id",
        "parked_at",
        "notice_id",
        "heard_at",
        "told_version",
        "told_at",
    ),  # tables and columns
    *("Content", "Entry", "Journal", "Place", "Template", "Recognition"),  # also name another thing
    *("Addresses", "Way", "hand", "turn", "refusals", "wish"),  # words of plain English
}
"""Names that a name given up has in common with something else."""
LEFT_OUT = (
    ":!CHANGELOG.md",
    ":!tests/test_renamed.py",
    ":!docs/*.json",  # generated from the code, with titles made of operation ids
    ":!*/migrations/*",  # never changed once they are there
    ":!tools/content/*",
    ":!*.txt",
)


def given_up() -> list[str]:
    names = {name for row in ROWS for name in re.findall(r"`(\w+)`", row)}
    return sorted(names - STAY)


@pytest.fixture(scope="module")
def words() -> dict[str, str]:
    """Each word of the repository, with a file that has it."""
    listed = subprocess.run(["git", "ls-files", "--", *LEFT_OUT], cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, str] = {}
    for name in listed.stdout.splitlines():
        if (path := ROOT / name).is_file() and b"\0" not in (data := path.read_bytes()):
            found |= dict.fromkeys(re.findall(r"\w+", data.decode()), name)
    return found


def test_the_table_is_read():
    assert {"Postman", "InHand", "LongWay", "crash_point", "places_taken"} <= set(given_up())


@pytest.mark.parametrize("name", given_up())
def test_a_name_that_was_given_up_is_used_nowhere(words, name):
    assert name not in words, f"{words[name]} says {name}: CHANGELOG.md has what it is called now"


def test_what_stays_is_still_used(words):
    assert words.keys() >= STAY, "take it out of STAY"
