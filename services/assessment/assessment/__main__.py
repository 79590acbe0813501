from assessment.app import build
from assessment.settings import Settings
from shared.cli import main

main(Settings, build)
