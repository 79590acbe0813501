"""E-mail addresses: validated in one way wherever one is taken, and where mail is sent."""

import re
import unicodedata
from email.headerregistry import Address
from typing import Final

LONGEST: Final = 254
"""Characters; source: RFC 5321 §4.5.3.1.3, less the brackets."""

_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Characters that show nothing (Default_Ignorable_Code_Point, and the empty Braille pattern)."""
_ALIKE: Final = {"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC"}
"""Scripts whose characters look alike, by the first word of the characters' Unicode names."""

_WORD = r"[^\s@\"(),:;<>\[\]\\.]+"
_SHAPE = re.compile(rf"{_WORD}(?:\.{_WORD})*@{_WORD}(?:\.{_WORD})+")


def address_of(text: str) -> Address:
    """Return the one mailbox that a text names, fit for a header.

    Raises ValueError: the text has a second address, a display name, quotes or an address literal; or it may look like
    another address, by invisible characters, compatibility forms (full width, ligatures), or scripts that look alike
    within one word.
    """
    invisible = any(unicodedata.category(character).startswith("C") for character in text) or _UNSEEN.search(text)
    if unicodedata.normalize("NFKC", text) != unicodedata.normalize("NFC", text) or any(map(_is_mixed, _PARTS(text))):
        raise ValueError("this is not an e-mail address")
    if len(text) > LONGEST or invisible or "=?" in text or _SHAPE.fullmatch(text) is None:
        raise ValueError("this is not an e-mail address")
    try:  # the library's parser knows ASCII alone; other characters are for the mail server to take or refuse
        Address(addr_spec=re.sub(r"[^\x00-\x7f]", "x", text))
    except Exception as error:  # the parser raises whatever it meets: AttributeError, IndexError, TypeError
        raise ValueError("this is not an e-mail address") from error
    local, _, domain = text.rpartition("@")
    return Address(username=local, domain=domain)


_PARTS: Final = re.compile(r"[.@]").split


def _is_mixed(part: str) -> bool:
    scripts = {unicodedata.name(character, "").partition(" ")[0] for character in part if character.isalpha()}
    return len(scripts & _ALIKE) > 1


def routable(text: str) -> Address:
    """Return the mailbox as mail servers route it: its domain in ASCII (RFC 5891), which all of them know.

    Before the @ it may be beyond ASCII, which only some take (RFC 6531). Raises ValueError: it is no address.
    """
    address = address_of(text)
    try:
        domain = address.domain.encode("idna").decode()
    except UnicodeError:
        return address
    return Address(username=address.username, domain=domain)
