"""What the lists at the command line say where there is nothing."""

import argparse

import pytest

from shared import cli
from shared.database import Unknown
from shared.ids import new_id

from .processes import service_of


@pytest.mark.parametrize(
    ("command", "action", "said"),
    [
        (cli._dead_letters, "list", "0 dead letters\n"),
        (cli._set_aside, "list", "0 set aside\n"),
        (cli._emails, "list", "0 e-mails that failed, or wait after a failure\n"),
        (cli._feed, "list", "0 feeds read\n"),
        (cli._outbox, "refused", "0 refused\n"),
    ],
)
async def test_a_list_says_that_it_is_empty(payments, capsys, command, action, said):
    assert await command(service_of("payments", payments.url), argparse.Namespace(action=action)) == 0
    assert capsys.readouterr().out == said


async def test_a_dead_letter_that_is_not_there_is_not_shown_as_nothing(payments):
    asked = argparse.Namespace(action="show", dead_letter_id=new_id())
    with pytest.raises(Unknown, match=str(asked.dead_letter_id)):
        await cli._dead_letters(service_of("payments", payments.url), asked)
