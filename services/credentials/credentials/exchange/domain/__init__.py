"""Rules of sharing, transfers, prior learning and webhooks: pure functions over frozen facts."""
