"""Credentials as compact JWTs: the Open Badges 3.0 profile, VC-JOSE-COSE, and the `vc` claim of VC 1.1.

Source: 1EdTech Open Badges 3.0, section 8.2; W3C VC-JOSE-COSE; RFC 7515. What a JWT claims beside the credential must
say the same as the credential, else two readers would understand it differently.
"""

from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from openbadges.errors import Invalid
from openbadges.members import Members, id_of, members
from openbadges.verification.limits import Limits
from openbadges.verification.period import instant, of_numeric_date
from openbadges.verification.plain_json import NotJson, read_object
from openbadges.verification.public_keys import ALGORITHMS
from openbadges.verification.report import Broken

_HEADER = {"alg", "kid", "jwk", "typ", "cty", "iss", "x5c", "x5t", "x5t#S256"}
"""The members a header may have. Certificates (x5…) are ignored, since only the issuer says whose key it is."""
_TYPES = {"jwt", "vc+jwt", "vc+ld+jwt", "vc+ld+json+jwt", "vc-ld+jwt"}
_CONTENTS = {"vc", "vc+ld+json", "vc-ld", "ld+json", "json"}
_LONGEST_HEADER = 8192


class NotToken(Invalid):
    """Three parts, but not those of a JWT."""

    remedy = "Copy the token whole, or send the credential's JSON."


@dataclass(frozen=True)
class Jwt:
    header: Members
    claims: Members
    credential: dict[str, Any]  # Any: JSON
    data: bytes
    signature: bytes


def split(token: bytes, limits: Limits) -> Jwt:
    """Return the parts of a JWT, of which nothing is verified yet. Raises NotToken and what reading JSON raises."""
    header, payload, signature = token.split(b".")
    try:
        return _split(_decoded(header), _decoded(payload), token[: len(header) + 1 + len(payload)], signature, limits)
    except (ValueError, TypeError, OverflowError, NotJson) as error:
        raise NotToken("this looks like a JWT, but cannot be read as one") from error


def check_header(header: Members) -> None:
    """Raise Broken for an algorithm that proves nothing, or members that would change what the signature means."""
    algorithm = header.get("alg")
    if algorithm not in ALGORITHMS:
        raise Broken(
            "algorithm_refused", f"It is signed with {str(algorithm)[:20]!r}; read are {', '.join(ALGORITHMS)}."
        )
    beyond = sorted(set(header) - _HEADER)
    if beyond:
        raise Broken("header_refused", f"Its header has members that are not read: {', '.join(beyond)[:100]}.")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in _TYPES:
        raise Broken("header_refused", "It is a token of another kind.")
    content = header.get("cty", "vc")
    if not isinstance(content, str) or content.lower().removeprefix("application/") not in _CONTENTS:
        raise Broken("header_refused", "What it holds is said to be of another kind.")
    if "kid" in header and not isinstance(header["kid"], str):
        raise Broken("header_refused", "Its header names no key that can be looked for.")
    if "jwk" in header and not isinstance(header["jwk"], Mapping):
        raise Broken("header_refused", "Its header holds no key that can be read.")


def check_claims(header: Members, claims: Members, credential: Members) -> None:
    """Raise Broken where the header or the claims differ from the credential."""
    subject = credential.get("credentialSubject")
    stated = {
        "iss": id_of(credential.get("issuer")),
        "jti": credential.get("id"),
        "sub": members(subject).get("id"),
    }
    if "iss" in header and header["iss"] != stated["iss"]:
        raise Broken("claims_differ", "Its header names another issuer than the credential.")
    for claim, value in stated.items():
        if claim in claims and value is not None and claims[claim] != value:
            raise Broken("claims_differ", f"The claim {claim} says another thing than the credential.")
    for claim, names in (("nbf", ("validFrom", "issuanceDate")), ("exp", ("validUntil", "expirationDate"))):
        value = next((credential[name] for name in names if name in credential), None)
        if claim in claims and value is not None and int(claims[claim]) != int(instant(value).timestamp()):
            raise Broken("claims_differ", f"The claim {claim} says another thing than the credential.")


def _split(header: bytes, payload: bytes, data: bytes, signature: bytes, limits: Limits) -> Jwt:
    if len(header) > _LONGEST_HEADER:
        raise NotToken("its header is too long")
    claims = read_object(payload, limits)
    within: object = claims.get("vc")
    credential = dict(cast("Members", within)) if isinstance(within, Mapping) else _without_claims(claims)
    if isinstance(within, Mapping):
        # VC 1.1 lets the claims stand in for what the credential leaves out.
        for claim, name in (("iss", "issuer"), ("jti", "id")):
            if claim in claims:
                credential.setdefault(name, claims[claim])
        for claim, name in (("nbf", "issuanceDate"), ("exp", "expirationDate")):
            if claim in claims:
                credential.setdefault(name, of_numeric_date(claims[claim]).isoformat())
    return Jwt(read_object(header, limits), claims, credential, data, _decoded(signature))


def _without_claims(claims: Members) -> dict[str, Any]:  # Any: JSON
    return {name: value for name, value in claims.items() if name not in {"iss", "jti", "sub", "nbf", "exp", "iat"}}


def _decoded(part: bytes) -> bytes:
    return urlsafe_b64decode(part + b"=" * (-len(part) % 4))
