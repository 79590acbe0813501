from newservice.domain import title_key


def test_titles_that_differ_in_case_or_spaces_alone_are_the_same() -> None:
    assert title_key("A first  Entry") == title_key("a FIRST entry")
    assert title_key("A first entry") != title_key("A second entry")
