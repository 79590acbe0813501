"""Rules about accounts: one per e-mail address, whatever its case; a password nobody guesses first; known roles."""

import unicodedata
from collections.abc import Collection, Iterable
from typing import Final

from shared.addresses import routable
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

    remedy = "Sign in, or have whoever runs this installation set a new password."


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
    """Two operators must remain who can confirm each other's grants, where there are two; one in any case."""

    remedy = "Have whoever runs this installation open another operator at the command line first."


class OwnGrant(Forbidden):
    """Nobody gives a role to themselves, nor gets one from an operator whom they made an operator, directly or through
    others."""

    remedy = "Ask another operator to propose it, and a second one to confirm."


class WrongCredentials(Unauthenticated):
    """The same answer whether the account or the password is wrong."""

    remedy = "Type both again, or have whoever runs this installation set a new password."


class AccountIsClosed(Unauthenticated):
    """The account was closed."""

    code = "account_closed"
    remedy = "It stays closed. Open a new account, or ask whoever runs this installation."


def email_key(email: str) -> str:
    """Return the form in which an e-mail address is unique: normalised (NFC), in lower case, its domain in ASCII.

    So no two addresses that look alike belong to different people. Not folded further: straße@ and strasse@ are two
    mailboxes.

    :raises EmailMalformed: it is no e-mail address
    """
    text = unicodedata.normalize("NFC", email.strip())
    try:
        address = routable(text)
    except ValueError as error:
        raise EmailMalformed(str(error)) from error
    return f"{address.username}@{address.domain}".lower()


def normal_password(password: str) -> str:
    """Return the password in NFKC, the same however its letters were composed (NIST SP 800-63B §3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def check_password(password: str, email: str, common: Collection[str]) -> None:
    """Check that a password is long enough and not among the first to be tried. `common` is in lower case.

    :raises PasswordTooShort: fewer than 12 characters
    :raises PasswordTooLong: more than 256
    :raises PasswordTooCommon: on the list, of fewer than five different characters, or mostly the e-mail address
    """
    password = normal_password(password)
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
    """Return the roles, each once.

    :raises UnknownRole: one of them does not exist
    """
    wanted = frozenset(roles)
    if unknown := sorted(wanted - set(ROLES)):
        raise UnknownRole(f"no such role: {', '.join(unknown)}", known=list(ROLES))
    return wanted
