"""Pages behind a link, and requests to partners' webhooks."""
