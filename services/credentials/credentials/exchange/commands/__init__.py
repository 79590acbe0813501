"""Commands on shares, transfers, prior learning, partners and webhooks."""
