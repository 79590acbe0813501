"""Events between services: outbox, relay, broker, inbox, feed.

A command calls `publish(session, event)`; a service declares `@inbox.on(Event)` handlers, or, where it only remembers,
`@inbox.keeps(Table, Event)`. Everything else here sees to it that what was committed arrives, in effect once, in
whatever order, whatever dies meanwhile.
"""

from shared.messaging.inbox import Inbox
from shared.messaging.outbox import publish
from shared.messaging.retrying import NotYet

__all__ = ["Inbox", "NotYet", "publish"]
