"""Invariants of people: nothing of the erased is left, and the others have the same name everywhere."""

from typing import Final

from simulation.looking import Look
from simulation.people import NAMES
from simulation.reporting import Broken


async def nothing_of_the_erased_is_left(look: Look) -> None:
    """No column of any table, no stored file and no e-mail still to be sent holds a name or address of theirs."""
    erased = {str(id_) for id_ in await look.erased()}
    words = [
        word.lower()
        for learner in look.platform.learners
        if learner.id in erased
        for word in (NAMES[learner.name][1], f"{learner.name}@", f"{learner.name}+")
    ]
    if not words:
        return
    for service in look.platform.consumers:
        for table in await look.tables(service):
            columns = await look.ask(
                service,
                "select attname, atttypid::regtype::text as type from pg_attribute "
                "where attrelid = $1::regclass and attnum > 0 and not attisdropped",
                table,
            )
            texts = [
                f"encode({one['attname']}, 'escape')" if one["type"] == "bytea" else f"{one['attname']}::text"
                for one in columns
                if one["type"] in {"text", "jsonb", "json", "bytea", "character varying"}
            ]
            if not texts:
                continue
            everything = f"lower(concat_ws(' ', {', '.join(texts)}))"
            found = await look.ask(
                service,
                f'select t.*::text as row from "{table}" t where '
                f"exists (select from unnest($1::text[]) word where position(word in {everything}) > 0) limit 2",
                words,
            )
            if found:
                raise Broken(f"something of an erased learner is in {service}.{table}", found)


async def the_same_name_everywhere(look: Look) -> None:
    """Credentials has the newest name that enrolment holds."""
    newest = {row["learner_id"]: row for row in await look.rows("enrolment", "learners")}
    erased = await look.erased()
    for person in await look.rows("credentials", "people"):
        there = newest.get(person["learner_id"])
        if there is None or person["learner_id"] in erased:
            continue
        if person["name_version"] != there["name_version"]:
            raise Broken("credentials has an older name", (person["name_version"], there["name_version"]))


async def an_erasure_reaches_everybody(look: Look) -> None:
    erased = await look.erased()
    for service, table in (("payments", "learners"), ("credentials", "learners")):
        for row in await look.rows(service, table):
            if row["learner_id"] in erased and row["anonymised_at"] is None:
                raise Broken(f"{service} has not handled an erasure", row)
    for id_ in look.platform.model.get("erasures", {}):
        if id_ not in {str(one) for one in erased}:
            raise Broken("an erasure that was confirmed did not happen", id_)


ALL: Final = (the_same_name_everywhere, an_erasure_reaches_everybody)
