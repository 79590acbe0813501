"""The outside world: JSON-LD, signing keys."""
