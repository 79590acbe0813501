"""Read what people type from a paper or copy from a page: numbers of documents, ids and addresses of badges."""

import re
import unicodedata
from urllib.parse import urlsplit
from uuid import UUID

from credentials.adapters.credential_issuer import CredentialIssuer
from credentials.domain import documents
from openbadges.verification.outside import origin

_LONGEST_ADDRESS = 500
_ID = re.compile(r"[0-9a-f]{32}")
_OF_OURS = re.compile(
    r"/(?:verify|credentials)/(?P<badge>[0-9a-fA-F-]{36})(?:\.\w{1,4}|/refresh(?:\.jwt)?)?/?|/documents/(?P<number>[^/]+)/?"
)


def page_of(typed: bytes, credential_issuer: CredentialIssuer) -> str | None:
    """Return the path of the page for a document's number or for an address of ours; None for anything else."""
    if len(typed) > _LONGEST_ADDRESS:
        return None
    text = typed.decode(errors="replace").strip()
    address = next((word for word in text.split() if "/" in word), None)
    if address is None:
        return _page_of_number(text)
    try:
        # With http://, https:// or neither, it is the same address.
        address = f"{urlsplit(credential_issuer.url).scheme}://{address.rpartition('://')[2].rstrip('.,;)')}"
        if origin(address) != origin(credential_issuer.url):
            return None
        path = urlsplit(address).path
    except ValueError:
        return None
    found = _OF_OURS.fullmatch(path)
    if found is None:
        return None
    return _page_of_number(found["badge"] or found["number"])


def _page_of_number(text: str) -> str | None:
    number = documents.number_of(text)
    if number is not None:
        return f"/documents/{number}"
    badge_id = badge_id_of(text)
    return None if badge_id is None else f"/verify/{badge_id}"


def badge_id_of(typed: str) -> UUID | None:
    """Return the badge's id, with any signs in or around it; o, i and l, which no id has, are read as 0 and 1."""
    letters = re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", typed)).lower().removeprefix("urnuuid")
    digits = letters.translate(str.maketrans("oli", "011"))
    return UUID(digits) if _ID.fullmatch(digits) else None
