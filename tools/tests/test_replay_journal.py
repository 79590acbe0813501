"""What a broken-off replay knows of what it did."""

from embedded.replay.journal import Journal


def test_steps_are_found_again(tmp_path):
    journal = Journal(tmp_path / "a" / "replay.jsonl")
    journal.note("one")
    journal.note("two", {"orders": ["x"]})
    password = journal.password("ada")
    journal.close()
    again = Journal(tmp_path / "a" / "replay.jsonl")
    assert (again.find("one"), again.find("two"), again.find("three")) == ({}, {"orders": ["x"]}, None)
    assert again.password("ada") == password
    assert again.resumed
    again.close()


def test_a_step_whose_note_was_cut_short_is_not_done(tmp_path):
    path = tmp_path / "replay.jsonl"
    journal = Journal(path)
    journal.note("one")
    journal.note("two")
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    again = Journal(path)
    assert (again.find("one"), again.find("two")) == ({}, None)
    again.note("two")
    again.close()
    assert path.read_bytes() == whole


def test_passwords_differ_by_name_and_by_installation_and_nobody_else_reads_them(tmp_path):
    here, there = Journal(tmp_path / "here.jsonl"), Journal(tmp_path / "there.jsonl")
    assert len({here.password("ada"), here.password("bob"), there.password("ada")}) == 3
    assert (tmp_path / "here.jsonl").stat().st_mode & 0o077 == 0
    assert not here.resumed
    for journal in (here, there):
        journal.close()
