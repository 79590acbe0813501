"""Feeds read without HTTP."""

from shared.messaging.feed import Reconciler, read_page

from .messaging_nodes import Station


class Local:
    """Remembers what it was asked."""

    def __init__(self, station):
        self.station, self.asked = station, []

    async def read(self, types, after):
        self.asked.append((tuple(types), after))
        return await read_page(self.station.database, types, after, 3)


class OfAnyLoop:
    """For a program that runs in another thread."""

    def __init__(self, url):
        self.url = url

    async def read(self, types, after):
        station = Station("payments", self.url)
        try:
            return await read_page(station.database, types, after, 3)
        finally:
            await station.database.dispose()


def reconciler(enrolment, payments, receiver=None):
    return Reconciler(receiver or enrolment.receiver, enrolment.database, {"payments": Local(payments)})
