"""`python -m gateway`."""

from gateway.app import build
from gateway.settings import Settings
from shared.cli import main

main(Settings, build)
