"""Feeds read without HTTP."""

from shared.messaging.feed import read_page
from shared.messaging.history import lacking
from shared.messaging.reconciliation import Reconciler

from .messaging_nodes import ServiceNode


class Local:
    """Remembers what it was asked."""

    def __init__(self, node):
        self.node, self.asked = node, []

    async def read(self, types, after):
        self.asked.append((tuple(types), after))
        return await read_page(self.node.database, types, after, 3)


class OfAnyLoop:
    """For a program that runs in another thread."""

    def __init__(self, url):
        self.url = url

    async def read(self, types, after):
        node = ServiceNode("payments", self.url)
        try:
            return await read_page(node.database, types, after, 3)
        finally:
            await node.database.dispose()

    async def lacking(self, ids):
        node = ServiceNode("payments", self.url)
        try:
            return await lacking(node.database, ids)
        finally:
            await node.database.dispose()


def reconciler(enrolment, payments, receiver=None):
    return Reconciler(receiver or enrolment.receiver, enrolment.database, {"payments": Local(payments)})
