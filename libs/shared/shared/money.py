"""Amounts of money as people read them."""

from decimal import Decimal
from typing import Final

from babel.numbers import format_currency, is_currency

LOCALE: Final = "en_GB"
"""The locale in which all texts of the platform write amounts."""
_NONE = ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF")
_THREE = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")
_DECIMALS: Final = {**dict.fromkeys(_NONE, 0), **dict.fromkeys(_THREE, 3)}
"""Decimals of the minor unit where it is not a hundredth (ISO 4217). Babel has those in daily use (CLDR), none for HUF
and IQD, of which providers count the minor units all the same."""


def money_text(amount_minor: int, currency: str) -> str:
    """Return an amount in minor units as people read it: £1,090.00.

    Of what is no currency we know, minor units are written, to be exact rather than pretty.
    """
    if not is_currency(currency, LOCALE):
        return f"{amount_minor} minor units of {currency}"
    decimals = _DECIMALS.get(currency, 2)
    pattern = "¤#,##0" + ("." + "0" * decimals if decimals else "")
    amount = Decimal(amount_minor).scaleb(-decimals)
    return format_currency(amount, currency, pattern, locale=LOCALE, currency_digits=False)
