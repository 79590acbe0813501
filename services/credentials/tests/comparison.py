"""A run of the comparison with the other services' facts."""

URL = "/v1/credits/comparison"


async def compared(service):
    async with service.client("operator") as client:
        return (await client.get(URL)).json()
