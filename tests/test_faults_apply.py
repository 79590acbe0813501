"""Every fault of the simulator's lists can still be brought back: the code it changes is where the list says."""

import pytest
from simulation.faults import FAULTS
from simulation.faults_of_kinds import Edit

from payments.jobs import refunding


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_can_be_brought_back(name, monkeypatch):
    FAULTS[name].bring_back(monkeypatch.setattr)


def test_a_place_that_is_gone_is_named(monkeypatch):
    with pytest.raises(LookupError, match=r"refunding\._send has no 'not in it' any more"):
        Edit(refunding, "_send", "not in it", "if False:").bring_back(monkeypatch.setattr)
