"""Questions about the status of a record."""


async def ask(service, learner):
    async with service.client("learner", id=learner) as client:
        listed = (await client.get("/v1/documents")).json()["items"]
        (transcript,) = [one for one in listed if one["kind"] == "transcript"]
        return await client.get(transcript["clr_url"])
