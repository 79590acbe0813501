"""The operations of an operator that are about a person are tried by that person."""

from gateway.access import ACCESS
from shared.testing.access import own_matters

from .two_words import code


async def test_nobody_gives_themselves_roles_nor_decides_about_them(people):
    await people.roots("carl")
    grant = await people.proposes("anna", "carl", "marker")
    tried = {
        "set_roles": await people.sets("carl", "carl", "operator", "marker"),
        "confirm_role_grant": await people.confirms("carl", grant),
        "refuse_role_grant": await people.refuses("carl", grant),
    }
    assert {one: code(answer) for one, answer in tried.items()} == {
        one: (403, error) for one, error in own_matters(ACCESS).items()
    }
