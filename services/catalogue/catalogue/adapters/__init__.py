"""Adapters: the response cache of this process."""
