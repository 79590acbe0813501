"""What this service is told from outside; nothing beyond what every service is told."""

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    pass
