"""What the demo shows of a learner's e-mail."""

from email.message import EmailMessage

import httpx

from embedded.demo import Cast, Narrator, email_to
from embedded.journey import Learner


async def test_a_second_email_of_the_same_subject_is_shown_when_it_is_there(tmp_path):
    (tmp_path / "mail").mkdir()

    def arrive(name, said):
        message = EmailMessage()
        message["Subject"] = "Your payment is confirmed"
        message.set_content(said)
        (tmp_path / "mail" / f"{name}_ada@learner.example.eml").write_bytes(bytes(message))

    narrator, cast = Narrator(tmp_path, {}), Cast(Learner(httpx.AsyncClient()), "ada@learner.example", {})
    for name, said in (("b", "the first\n"), ("a", "the second\n"), ("c", "the third\n")):
        arrive(name, said)
        assert await email_to(narrator, cast, "Your payment is confirmed") == said
