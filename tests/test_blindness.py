"""Of the faults that are brought back: each still is one, and the table of what finds them is whole."""

import pytest
from simulation import blindness
from simulation.faults import FAULTS
from simulation.faults_of_kinds import Edit


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_can_be_brought_back(name):
    changed = []
    FAULTS[name].bring_back(lambda *change: changed.append(change))
    assert changed


def test_what_reads_otherwise_by_now_is_not_brought_back():
    with pytest.raises(LookupError, match=r"has no 'return None'"):
        Edit(blindness, "fails", "return None", "return True").bring_back(lambda *_: None)


@pytest.mark.parametrize("name", FAULTS)
def test_its_test_is_there(name):
    file, _, test = FAULTS[name].test.partition("::")
    assert f"def {test}(" in (blindness.ROOT / file).read_text()
