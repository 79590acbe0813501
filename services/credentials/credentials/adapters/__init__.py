"""The outside world: signing and its keys, JSON-LD, drawing and typesetting, webhooks, and verification."""
