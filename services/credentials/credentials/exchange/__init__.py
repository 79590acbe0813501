"""What passes between us and others: records shared by consent, credit transferred into degrees elsewhere, prior
learning, partners and their webhooks. It stands on the rest of the service, which knows nothing of it but its tables.
"""
