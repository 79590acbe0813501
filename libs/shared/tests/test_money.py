"""Amounts of money as people read them."""

import pytest

from shared.money import money_text


@pytest.mark.parametrize(
    ("amount_minor", "currency", "text"),
    [
        (109000, "GBP", "£1,090.00"),
        (5, "GBP", "£0.05"),
        (0, "GBP", "£0.00"),
        (-49500, "GBP", "-£495.00"),
        (123456789, "EUR", "€1,234,567.89"),
        (49500, "USD", "US$495.00"),
        (49500, "JPY", "JP¥49,500"),
        (49500, "KWD", "KWD49.500"),
        (1234567, "KWD", "KWD1,234.567"),
        (49500, "HUF", "HUF495.00"),
        (49500, "IQD", "IQD49.500"),
        (10**17 + 1, "GBP", "£1,000,000,000,000,000.01"),
        (49500, "QQQ", "49500 minor units of QQQ"),
        (49500, "", "49500 minor units of "),
    ],
)
def test_an_amount_has_the_decimals_of_its_currency(amount_minor, currency, text):
    assert money_text(amount_minor, currency) == text
