"""The event contracts: what one service may learn of another. One module per publisher.

Within `.v1` only optional fields are added; a breaking change is a new class with `.v2` beside it.
Every class has a golden JSON in tests/golden that must stay readable.
"""

from shared.events.base import Event, registry

__all__ = ["Event", "registry"]
