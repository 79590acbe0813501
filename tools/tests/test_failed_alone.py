"""The gate's second look at what failed: what is broken stays broken, what is flaky is named."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLAKY = """
from pathlib import Path
def test_passes_from_the_second_time_on():
    met = Path(__file__).with_name("met")
    if not met.exists():
        met.touch()
        raise AssertionError
"""
BROKEN = "import pytest\n@pytest.mark.parametrize('one', range({}))\ndef test_fails(one): assert one < 0\n"


def failed_alone(folder: Path, tests: str) -> subprocess.CompletedProcess[str]:
    """Run `tests` in a project of their own, and what fails of them again."""
    (folder / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools/failed_alone.sh", folder / "tools")
    (folder / ".venv").symlink_to(ROOT / ".venv")
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_it.py").write_text(tests)
    subprocess.run([folder / ".venv/bin/python", "-m", "pytest", "-q"], cwd=folder, check=False, capture_output=True)
    return subprocess.run([folder / "tools/failed_alone.sh"], check=False, capture_output=True, text=True)


@pytest.mark.slow
def test_what_passes_alone_is_named(tmp_path):
    ended = failed_alone(tmp_path, FLAKY)
    assert ended.returncode == 0
    assert ended.stdout.splitlines()[-1] == "test_it.py::test_passes_from_the_second_time_on"


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 6])
def test_what_is_broken_or_much_stays_so(tmp_path, count):
    ended = failed_alone(tmp_path, FLAKY + BROKEN.format(count))
    assert ended.returncode != 0
    assert "FLAKY" not in ended.stdout


@pytest.mark.slow
def test_without_a_failure_there_is_nothing_to_look_at(tmp_path):
    assert failed_alone(tmp_path, "import no_such_module\n").returncode != 0
    assert failed_alone(tmp_path / "other", "def test_passes(): pass\n").returncode != 0
