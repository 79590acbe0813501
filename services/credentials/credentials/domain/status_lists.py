"""How long our status lists are valid, and when they are signed anew."""

from datetime import timedelta

VALID_FOR = timedelta(hours=48)
RENEW_BEFORE = timedelta(hours=24)
"""A list is signed anew when this little of its time is left, so that a day's failure to sign does no harm."""

TTL_SECONDS = 30
"""How long others may cache a list."""
