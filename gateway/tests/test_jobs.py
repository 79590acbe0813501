"""What the gateway does when time passes."""

from datetime import timedelta

from sqlalchemy import select

from gateway import jobs
from gateway.tables import Account, RefreshToken, SignIn
from shared.ids import new_id
from shared.jobs import Work


async def test_sessions_that_ended_a_week_ago_are_forgotten_with_their_tokens(service, session, clock, monkeypatch):
    monkeypatch.setattr(jobs, "_SIGN_INS_AT_ONCE", 2)
    at, account_id = clock(), new_id()
    session.add(Account(account_id=account_id, email="a@example.org", email_key="a@example.org", opened_at=at))
    await session.flush()
    for number in range(10):
        long_ago = at - timedelta(days=8 if number < 7 else 6)
        ended = number % 2 == 0
        row = SignIn(
            sign_in_id=new_id(),
            account_id=account_id,
            opened_at=long_ago,
            expires_at=at + timedelta(days=20) if ended else long_ago,
            ended_at=long_ago if ended else None,
            end_reason="signed_out" if ended else None,
        )
        session.add(row)
        await session.flush()
        session.add(RefreshToken(token_sha256=bytes([number]), sign_in_id=row.sign_in_id, issued_at=at))
    await session.commit()

    await jobs.forget_ended_sign_ins(Work(service.process.database, service.service.resources))

    kept = await session.scalars(select(RefreshToken.token_sha256).order_by(RefreshToken.token_sha256))
    assert list(kept) == [bytes([number]) for number in (7, 8, 9)]
    assert len((await session.scalars(select(SignIn))).all()) == 3
