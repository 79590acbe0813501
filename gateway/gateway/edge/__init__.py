"""The reverse proxy of the front door: raw ASGI, no framework, nothing that a request does not need."""
