"""For pytest (`-p simulation.bringing_back`): the platform has the fault that FAULT names while tests run."""

import os

import pytest

from simulation.faults import FAULTS


def pytest_configure() -> None:
    FAULTS[os.environ["FAULT"]].bring_back(pytest.MonkeyPatch().setattr)
