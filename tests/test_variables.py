"""The commands of the README's operators' part, as they are typed against the platform that runs on this machine."""

import os
import subprocess
import sys

import pytest

from embedded.services import NAMES

KEPT = {name: value for name, value in os.environ.items() if not name.startswith("MC_")}


@pytest.mark.parametrize("service", NAMES)
def test_a_services_commands_work_with_the_variables_that_are_shown(embedded_platform, service):
    command = (
        f'eval "$({sys.executable} -m embedded.variables {service})" && {sys.executable} -m {service} dead-letters list'
    )
    env = {**KEPT, "MC_DATA": str(embedded_platform.deployment.folder)}
    done = subprocess.run(["sh", "-c", command], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_a_platform_there_are_none(tmp_path):
    command = [sys.executable, "-m", "embedded.variables", "payments"]
    done = subprocess.run(command, env={**KEPT, "MC_DATA": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "`make run` starts it" in done.stderr
    assert not [*tmp_path.iterdir()]
