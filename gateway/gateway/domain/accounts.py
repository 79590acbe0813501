"""Accounts: one per e-mail address, whatever its case; a password nobody guesses first."""

import unicodedata
from collections.abc import Collection, Iterable
from typing import Final

from shared.addresses import address_of
from shared.errors import Conflict, Forbidden, Invalid, Unauthenticated

ROLES: Final = (
    "learner",
    "marker",
    "examiner",
    "registrar",
    "advisor",
    "finance",
    "catalogue_editor",
    "operator",
)
FIRST_ROLE: Final = "learner"

PASSWORD_SHORTEST: Final = 12
PASSWORD_LONGEST: Final = 256
_VARIETY: Final = 5


class EmailMalformed(Invalid):
    """Not an e-mail address."""

    remedy = "Mend the e-mail address."


class EmailTaken(Conflict):
    """There is an account with this address; case makes no difference."""

    remedy = "Sign in, or have an operator set a new password."


class PasswordTooShort(Invalid):
    """Length is what protects a password (NIST SP 800-63B §3.1.1)."""

    remedy = "Choose a longer one, such as a few words."


class PasswordTooLong(Invalid):
    """A bound, so that hashing has one."""

    remedy = "Choose a shorter one."


class PasswordTooCommon(Invalid):
    """On the list of those tried first, or made of the e-mail address."""

    remedy = "Choose one that nobody would try, such as a few words that do not belong together."


class UnknownRole(Invalid):
    """A role this platform does not have."""

    remedy = "Take one of the roles that `known` lists."


class LastOperator(Conflict):
    """Somebody must remain who can grant roles."""

    remedy = "Grant the role to somebody else first."


class OwnGrant(Forbidden):
    """Nobody holds a role by their own grant, nor by that of an operator whom they made one, in however many steps."""

    remedy = "Ask another operator to grant it."


class WrongCredentials(Unauthenticated):
    """The same answer whether the account or the password is wrong."""

    remedy = "Type the address and the password again; an operator can set a new password."


class AccountClosed(Unauthenticated):
    """The account was closed."""

    remedy = "It stays closed. Open a new account, or ask whoever runs this installation."


def email_key(email: str) -> str:
    """What an address is unique by: normalised and without case.

    :raises EmailMalformed:
    """
    text = unicodedata.normalize("NFC", email.strip())
    try:
        address_of(text)
    except ValueError as error:
        raise EmailMalformed(str(error)) from error
    return text.casefold()


def check_password(password: str, email: str, common: Collection[str]) -> None:
    """Refuse a password that is short or among the first to be tried. `common` is in lower case.

    :raises PasswordTooShort: fewer than 12 characters
    :raises PasswordTooLong: more than 256
    :raises PasswordTooCommon:
    """
    if len(password) < PASSWORD_SHORTEST:
        raise PasswordTooShort(f"a password has at least {PASSWORD_SHORTEST} characters")
    if len(password) > PASSWORD_LONGEST:
        raise PasswordTooLong(f"a password has at most {PASSWORD_LONGEST} characters")
    folded = password.casefold()
    stem = folded.rstrip("0123456789!?.*#$ ")
    local = email_key(email).partition("@")[0]
    guessable = folded in common or stem in common or len(set(folded)) < _VARIETY
    if guessable or (len(local) > 3 and local in folded and len(folded) - len(local) < PASSWORD_SHORTEST // 2):  # noqa: PLR2004 - three letters are no name
        raise PasswordTooCommon("this password is one of the first that would be tried")


def check_roles(roles: Iterable[str]) -> frozenset[str]:
    """The roles, each once.

    :raises UnknownRole:
    """
    wanted = frozenset(roles)
    if unknown := sorted(wanted - set(ROLES)):
        raise UnknownRole(f"no such role: {', '.join(unknown)}", known=list(ROLES))
    return wanted
