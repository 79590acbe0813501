"""Adapters: password hashing, an outside issuer, encryption of keys."""
