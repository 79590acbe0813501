"""Settings of newservice: those every service has."""

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """Nothing of its own yet."""
