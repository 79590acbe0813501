"""Test support: services on a real, migrated database, and the fixtures that every service's tests share."""
