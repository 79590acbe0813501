"""Courses as a learner may still buy them."""

from shared.events.catalogue import PriceChanged
from shared.ids import new_id

from .announcements import BEFORE, named


def priced(code: str, amount_minor: int = 49500, at=BEFORE, currency: str = "GBP") -> PriceChanged:
    return PriceChanged(
        course_id=named("course", code), price_id=new_id(), amount_minor=amount_minor, currency=currency, valid_from=at
    )
