"""The library stands alone: in an empty environment it does what its README says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[1]
LOCK = LIBRARY.parents[1] / "requirements" / "run.txt"


def ten_lines() -> str:
    """What the README shows."""
    (code,) = re.findall(r"```python\n(.*?)```", (LIBRARY / "README.md").read_text("utf-8"), re.DOTALL)
    return code


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_lines_of_the_readme_issue_and_verify_a_badge(tmp_path) -> None:
    assert (
        len([line for line in ten_lines().splitlines() if line and not line.startswith(("import", "from", " "))]) <= 10
    )
    assert run(sys.executable, "-I", "-c", ten_lines(), cwd=tmp_path).startswith("valid ['schema: ")


@pytest.mark.slow
def test_it_installs_into_an_empty_environment_and_brings_nothing_of_ours(tmp_path) -> None:
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    uv = (sys.executable, "-m", "uv", "pip")
    run(*uv, "install", "--python", python, "--constraint", LOCK, LIBRARY, cwd=tmp_path)
    installed = {line.split("==")[0] for line in run(*uv, "freeze", "--python", python, cwd=tmp_path).splitlines()}
    names = {name.partition(" @ ")[0] for name in installed}
    assert "openbadges" in names
    assert not names & {"shared", "credentials", "fastapi", "starlette", "sqlalchemy", "httpx", "uvicorn"}
    assert run(python, "-I", "-c", ten_lines(), cwd=tmp_path).startswith("valid ['schema: ")
