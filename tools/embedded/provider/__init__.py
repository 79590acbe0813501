"""The sandbox payment provider: Flywire's shapes over HTTP, a pay page for people, a control API for tests."""

from embedded.provider.app import build
from embedded.provider.settings import Settings

__all__ = ["Settings", "build"]
