"""The queries of payments, by what is read."""
