from shared.testing.access import access_failures
from shared.testing.services import ServiceUnderTest


async def test_every_operation_admits_whom_its_row_names_and_nobody_else(service: ServiceUnderTest) -> None:
    assert await access_failures(service) == []
