"""Events between services: outbox, relay, broker, inbox, feed.

A command calls `publish(session, event)`; a service declares handlers with `@inbox.on(Event)`, or, where it only
remembers the event, a projection with `@inbox.project(Table, Event)`. Everything else here sees to it that a committed
event arrives and takes effect exactly once, in whatever order events come and whichever process dies meanwhile.
"""

from shared.messaging.inbox import Inbox
from shared.messaging.outbox import publish
from shared.messaging.retrying import RetryLater

__all__ = ["Inbox", "RetryLater", "publish"]
