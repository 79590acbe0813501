"""Whatever code, tests and papers refer to is in this repository: worked cases, parts of the rules, decisions, files."""

import json
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RULES = (ROOT / "docs/rules.md").read_text()
DECISIONS = ROOT / "docs/decisions"

_CASE = re.compile(r"(?<![\w/#-])([AFHMPRTW]\d{1,2})\b(?![-/])")
_CASES_IN_A_NAME = re.compile(r"(?:test|and)_([afhmprtw]\d{1,2})(?=_)")
_STANDARD = re.compile(
    r"RFC \d|NIST SP|Unicode|RDFC|1EdTech|W3C|Verifiable Credentials|Data Integrity|Controlled Identifiers"
)
_PARTS = re.compile(r"docs/rules\.md, ([^.]*)")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
WORDS_ON_A_PAGE = 750
STATUS = re.compile(r"in force|amended by \[\d+\].*|replaced by \[\d+\].*")


def files(*patterns: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


@cache
def texts() -> list[tuple[Path, str]]:
    """Every docstring, and every comment, of our Python files, in one line each."""
    return [(path, " ".join(text.split())) for path in files("*.py") for text in _texts(path)]


def _texts(path: Path) -> Iterator[str]:
    source = path.read_text()
    yield from re.findall(r'"""(.*?)"""', source, re.DOTALL)
    yield from re.findall(r"(?:^|\s)# (.*)$", source, re.MULTILINE)


def cited_cases() -> set[str]:
    cited = {case for path in files("**/test_*.py") for case in _CASES_IN_A_NAME.findall(path.read_text())}
    named = {
        case
        for path, text in texts()
        if "tests" in path.parts or "domain" in path.parts
        for case in _CASE.findall(text)
    }
    return {case.upper() for case in cited} | named


def test_the_cases_of_the_rules_are_those_that_tests_cite():
    in_the_rules = set(re.findall(r"^\| ([A-Z]\d+) \|", RULES, re.MULTILINE))
    assert in_the_rules - cited_cases() == set(), "no test holds these"
    assert cited_cases() - in_the_rules == set(), "docs/rules.md does not state these"


@pytest.mark.parametrize("cited", ["A13", "R5"])
def test_a_case_that_nobody_wrote_down_would_be_found(cited):
    assert _CASE.findall(f"{cited}: the learner sees it.") == [cited]
    assert _CASES_IN_A_NAME.findall(f"def test_{cited.lower()}_the_learner_sees_it") == [cited.lower()]


def test_cited_parts_of_the_rules_are_there():
    headings = set(re.findall(r"^#+ (.*)$", RULES, re.MULTILINE))
    cited = {
        (part, path.relative_to(ROOT).as_posix())
        for path, text in texts()
        for parts in _PARTS.findall(text)
        for part in re.findall(r'"([^"]+)"', parts)
    }
    assert {part for part, _ in cited} & headings
    assert {(part, path) for part, path in cited if part not in headings} == set()


def test_numbered_sections_are_of_published_standards():
    """A part of our own papers is cited by its heading."""
    cited = [(path, text) for path, text in texts() if "§" in text and not _STANDARD.search(text)]
    assert cited == []


def test_files_and_decisions_that_code_cites_are_there():
    missing = [
        (path.relative_to(ROOT).as_posix(), name)
        for path, text in texts()
        for name in re.findall(r"\b(?:docs|tests/data)/[\w./-]+\.(?:md|json)\b", text)
        if not (ROOT / name).exists()
    ]
    assert missing == []
    known = {int(path.name[:4]) for path in DECISIONS.glob("0*.md")}
    everywhere = [*texts(), *((path, path.read_text()) for path in files("*.md"))]
    cited = {int(number) for _, text in everywhere for number in re.findall(r"\bdecision (\d+)", text)}
    assert cited <= known


def test_links_between_papers_lead_to_files():
    broken = [
        (path.relative_to(ROOT).as_posix(), link)
        for path in files("*.md")
        for link in _LINK.findall(path.read_text())
        if "://" not in link and not link.startswith(("#", "mailto:"))
        if not (path.parent / link.split("#")[0]).exists()
    ]
    assert broken == []


def test_files_that_papers_name_are_there():
    named = re.compile(r"`((?:bench|deploy|docs|gateway|libs|requirements|services|simulation|tests|tools)/[\w./-]+)`")
    missing = [
        (path.relative_to(ROOT).as_posix(), name)
        for path in files("*.md")
        for name in named.findall(path.read_text())
        if not (ROOT / name).exists() and not (path.parent / name).exists()
    ]
    assert missing == []


def test_the_glossary_has_each_word_once():
    parts = re.split(r"^## ", (ROOT / "docs/glossary.md").read_text(), flags=re.MULTILINE)
    text = "".join(part for part in parts if not part.startswith("Words with several senses"))
    rows = re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)
    words = [word for row in rows if row not in {"Word", "---"} for word in row.split(", ")]
    assert {word for word in words if words.count(word) > 1} == set()


def _indexed() -> dict[str, tuple[str, str]]:
    """File -> title and status, from the index."""
    rows = re.findall(
        r"^\| \d+ \| \[(.+)\]\((\S+\.md)\) \| (.+) \|$", (DECISIONS / "README.md").read_text(), re.MULTILINE
    )
    assert len(rows) == len({file for _, file, _ in rows})
    return {file: (title, status) for title, file, status in rows}


def test_the_index_lists_every_decision_with_its_title_and_status():
    headings = {path.name: path.read_text().splitlines()[0].split(". ", 1)[1] for path in DECISIONS.glob("0*.md")}
    indexed = _indexed()
    assert {file: title for file, (title, _) in indexed.items()} == headings
    assert [file for file, (_, status) in indexed.items() if not STATUS.fullmatch(status)] == []


def test_a_decision_is_a_page():
    long = {
        path.name: words
        for path in DECISIONS.glob("0*.md")
        if (words := len(path.read_text().split())) > WORDS_ON_A_PAGE
    }
    assert long == {}


EXAMPLES = {
    "test_a_resit_is_recorded_with_the_cap",
    "test_r2_",
    "migrations/versions/YYYY_MM_DD_create_notes.py",
    "migrations/versions/YYYY_MM_DD_what.py",
    "NNNN-what-was-decided.md",
}
"""Names in papers that stand for one of their kind."""
_FILE = re.compile(r"[\w.-]+(?:/[\w.-]+)*\.(?:py|json|md|sh|toml|yml|txt|html|svg|typ)")


@cache
def names_there_are() -> tuple[frozenset[str], list[str], set[str]]:
    """The words and names of all our Python files; the paths of all files; the paths of the API."""
    words = {word for path in files("*.py") for word in [path.stem, *re.findall(r"\w+", path.read_text())]}
    paths = [f"/{path.relative_to(ROOT)}" for path in files()]
    routes = {_unnamed(path) for path in json.loads((ROOT / "docs/openapi.json").read_text())["paths"]}
    return frozenset(words), paths, routes


def _unnamed(route: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", route)


@pytest.mark.parametrize(
    "paper",
    [path for path in files("*.md") if path.name != "CHANGELOG.md"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_what_a_paper_names_is_there(paper):
    """Tests, classes, files and addresses of the API that papers name in code's letters."""
    words, paths, routes = names_there_are()
    named = re.findall(r"`([^`\n]+)`", paper.read_text())
    wrong = {one for one in re.findall(r"\btest_\w+", paper.read_text()) if one not in words}
    wrong |= {one for one in named if re.fullmatch(r"[a-z]+(?:_[a-z]+)+", one) and one not in words}
    wrong |= {one for one in named if _FILE.fullmatch(one) and not any(path.endswith(f"/{one}") for path in paths)}
    asked = (one.split()[-1].partition("?")[0] for one in named if re.fullmatch(r"(?:[A-Z]+ )?/v1/[^ ]+", one))
    wrong |= {one for one in asked if not any(route.startswith(_unnamed(one)) for route in routes)}
    assert wrong - EXAMPLES == set()
