"""Open Badges 3.0: the unsigned AchievementCredential and its parts.

Every member written here is a term of the contexts named, so nothing is left outside the signature. Source: 1EdTech
Open Badges 3.0; W3C Verifiable Credentials 2.0.
"""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from openbadges.contexts import CREDENTIALS_CONTEXT
from openbadges.signable import instant

Document = dict[str, Any]  # Any: JSON

CONTEXTS: Final = (
    CREDENTIALS_CONTEXT,
    "https://purl.imsglobal.org/spec/ob/v3p0/context-3.0.3.json",
    # Defines 1EdTechJsonSchemaValidator2019 and 1EdTechCredentialRefresh, undefined terms without it.
    "https://purl.imsglobal.org/spec/ob/v3p0/extensions.json",
)
SCHEMA_URL: Final = "https://purl.imsglobal.org/spec/ob/v3p0/schema/json/ob_v3p0_achievementcredential_schema.json"


def badge_document(
    url: str,
    name: str,
    *,
    issuer: Mapping[str, Any],  # Any: JSON
    subject: Mapping[str, Any],  # Any: JSON
    achievement: Mapping[str, Any],  # Any: JSON
    valid_from: datetime | str,
    **further: object,
) -> Document:
    """Return an unsigned badge.

    `issuer` is a Profile and has an `id`; `subject` is who earned it, `achievement` for what. `further` members stand
    beside these, such as `awardedDate`, `credentialStatus` and `validUntil`.
    """
    return {
        "@context": list(CONTEXTS),
        "id": url,
        "type": ["VerifiableCredential", "OpenBadgeCredential"],
        "name": name,
        "issuer": {"type": ["Profile"], **issuer},
        "validFrom": valid_from if isinstance(valid_from, str) else instant(valid_from),
        "credentialSubject": {"type": ["AchievementSubject"], **subject, "achievement": achievement},
        **further,
    }


def status_entry(status_id: str, status_list_url: str, status_index: str) -> Document:
    """Return the status entry of a credential: a single object, since the schemas refuse a list."""
    return {
        "id": status_id,
        "type": "BitstringStatusListEntry",
        "statusPurpose": "revocation",
        "statusListIndex": status_index,
        "statusListCredential": status_list_url,
    }


def identity_hash(email: str, salt: str) -> str:
    """Return the salted hash of an e-mail address, trimmed and in lower case.

    Source: Open Badges 3.0, IdentityHash (salt appended).
    """
    return "sha256$" + sha256((email.strip().lower() + salt).encode()).hexdigest()
