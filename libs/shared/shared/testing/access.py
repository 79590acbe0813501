"""Compare what a service admits with its access table."""

import re

import httpx

from shared.access import Access
from shared.ids import new_id
from shared.service import operations
from shared.testing.services import ServiceUnderTest


def own_matters(access: Access) -> dict[str, str]:
    """Return the operations that raise an error about one's own matter, with its problem code (the first of them)."""
    return {operation: rule.refusals[0].code for operation, rule in access.items() if rule.refusals}


async def access_failures(tested: ServiceUnderTest) -> list[str]:
    """Call every operation as every kind of caller; return what differs from the access table, in words.

    Callers whom the rule admits must get past the guard (any answer but 401, 403 and 5xx); all others must not.
    """
    rules = tested.service.access
    roles = sorted({role for rule in rules.values() for role in rule.owners | rule.staff} | {"nobody_in_particular"})
    scopes = sorted({scope for rule in rules.values() for scope in rule.scopes} | {"nothing:read"})
    failures: list[str] = []
    for operation, (method, path) in operations(tested.process.api).items():
        rule = rules[operation]
        concrete = re.sub(r"\{[^}]+\}", str(new_id()), path)
        actors: list[tuple[str, httpx.AsyncClient, bool]] = [("anonymous", tested.client(), rule.public)]
        actors += [(f"role {r}", tested.client(r), rule.public or r in rule.owners | rule.staff) for r in roles]
        actors += [
            (f"scope {s}", tested.client(client_id="partner", scopes=(s,)), rule.public or s in rule.scopes)
            for s in scopes
        ]
        for actor, client, admitted in actors:
            async with client:
                answer = await client.request(method, concrete)
            code = answer.json().get("code") if answer.status_code in {401, 403} else None
            refused = code in {"invalid_token", "not_permitted"}
            if refused == admitted or answer.is_server_error:
                failures.append(f"{operation} as {actor}: {answer.status_code} {answer.text[:200]}")
    return failures
