"""Load, decide, store, announce."""
