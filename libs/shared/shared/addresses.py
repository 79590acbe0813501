"""One e-mail address, read alike at every door and by whoever sends the mail."""

import re
import unicodedata
from email.headerregistry import Address
from typing import Final

LONGEST: Final = 254
"""Characters; source: RFC 5321 §4.5.3.1.3, less the brackets."""

_WORD = r"[^\s@\"(),:;<>\[\]\\.]+"
_SHAPE = re.compile(rf"{_WORD}(?:\.{_WORD})*@{_WORD}(?:\.{_WORD})+")


def address_of(text: str) -> Address:
    """The one mailbox this names, fit for a header: no second one beside it, no name, no quotes, no address literal.

    Raises ValueError for everything else.
    """
    invisible = any(unicodedata.category(character).startswith("C") for character in text)
    if len(text) > LONGEST or invisible or "=?" in text or _SHAPE.fullmatch(text) is None:
        raise ValueError("this is not an e-mail address")
    try:  # letters beyond ASCII are for the mail server to take or refuse; the parser of the library knows none
        Address(addr_spec=re.sub(r"[^\x00-\x7f]", "x", text))
    except Exception as error:  # the parser raises whatever it meets: AttributeError, IndexError, TypeError
        raise ValueError("this is not an e-mail address") from error
    local, _, domain = text.rpartition("@")
    return Address(username=local, domain=domain)
