"""Reading of messages without their properties, where the AMQP library cannot read those.

A broker keeps whatever properties a publisher sends: a time after the year 9999, a name that is no UTF-8. The library
ends the whole connection over them, every time the message is delivered, so that one such message would close its
queue. Nothing of ours is in the properties alone: the message is handled, or dead-lettered, by its body.
"""

import logging

from pamqp.commands import Basic
from pamqp.header import ContentHeader

from shared import telemetry

log = logging.getLogger(__name__)

_unmarshal = ContentHeader.unmarshal


def _unmarshal_or_leave_out(self: ContentHeader, data: bytes) -> None:
    """Unmarshal a content header; where its properties cannot be read, leave them out. The body's size stands before
    them, and is known by then."""
    try:
        _unmarshal(self, data)
    except Exception as error:  # the decoders raise whatever Python raises: ValueError, OverflowError, RecursionError
        if self.class_id is None:
            raise
        self.properties = Basic.Properties()
        telemetry.message_properties_unreadable.inc()
        log.error("a message is read without its properties", extra={"error": repr(error)})  # noqa: TRY400


def read_without_odd_properties() -> None:
    """Have this process read such messages; the library offers no other way than to replace its function."""
    ContentHeader.unmarshal = _unmarshal_or_leave_out
