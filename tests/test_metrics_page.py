"""docs/metrics.md has every metric that any part defines (`embedded.documents` writes it)."""

import re
import subprocess
from pathlib import Path

import pytest

from embedded import metrics_page
from embedded.documents import documents

ROOT = Path(__file__).parents[1]
DEFINED = re.compile(r'^\w+ = (Counter|Gauge|Histogram|Summary)\(\s*"(\w+)"', re.MULTILINE)
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| (.*) \| (.+) \|$", re.MULTILINE)


def defined() -> dict[str, str]:
    """Every metric in the source, by name, with its kind."""
    command = ["git", "grep", "-l", "prometheus_client import", "--", "*.py", ":!*/tests/*"]
    files = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    found = [one for file in files for one in DEFINED.findall((ROOT / file).read_text())]
    return {name: kind.lower() for kind, name in found}


def test_every_metric_is_on_the_page():
    rows = {name: kind for name, kind, _, _ in ROW.findall(metrics_page.page())}
    assert len(rows) >= 30
    assert rows == defined()


@pytest.mark.parametrize(
    "row",
    [
        "| `history_lost` | gauge | `service` | 1 while others have read",
        "| `http_requests_total` | counter | `service`, `method`, `route`, `status` | Requests by route",
        "| `signing_keys_unreadable` | gauge |  | The issuer's signing keys",
    ],
)
def test_a_row_says_kind_and_labels(row):
    assert row in metrics_page.page()


def test_the_page_is_one_of_the_generated_documents():
    assert documents()["metrics.md"] == metrics_page.page()
