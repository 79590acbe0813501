"""`python -m embedded.coverage FILE`: what coverage.py measured, in lines and branches of each package.

Nothing is asked of the figures: they show where nobody has looked yet.
"""

import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

COLUMNS = ("statements", "lines", "branches", "taken")


def by_package(measured: dict[str, Any]) -> dict[str, Counter[str]]:  # Any: JSON
    """Return for each package of the workspace its statements and branches, and how many of them were run."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for file, said in measured["files"].items():
        parts, summary = Path(file).parts, said["summary"]
        found[parts[0] if parts[0] == "gateway" else "/".join(parts[:2])] += Counter(
            statements=summary["num_statements"],
            lines=summary["covered_lines"],
            branches=summary["num_branches"],
            taken=summary["covered_branches"],
        )
    return found


def table(packages: dict[str, Counter[str]]) -> str:
    """Return a line for each package: what share of its lines and of its branches was run."""
    share = "{:>8.1%}".format
    lines = [f"{'':<22}{'lines':>8}{'branches':>10}"]
    for name, counted in sorted(packages.items()):
        ran = counted["lines"] / max(1, counted["statements"])
        taken = counted["taken"] / max(1, counted["branches"])
        lines.append(f"{name:<22}{share(ran)}  {share(taken)}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(by_package(json.loads(Path(sys.argv[1]).read_text()))))
