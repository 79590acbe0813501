"""The commands of the catalogue: those of every service."""

from catalogue.app import build
from catalogue.settings import Settings
from shared.cli import main

main(Settings, build)
