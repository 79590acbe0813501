"""The front door: accounts and tokens, and the one way in to every service."""
