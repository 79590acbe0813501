from newservice.app import build
from newservice.settings import Settings
from shared.cli import main

main(Settings, build)
