"""The front door's hot path: raw ASGI, no framework, nothing that a request does not need."""
