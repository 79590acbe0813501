"""Reads from the database longer than a look-up by primary key."""
