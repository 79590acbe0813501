"""Schema changes: the messaging tables (the branch `messaging`) beside each service's own branch."""
