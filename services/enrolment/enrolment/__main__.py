from enrolment.app import build
from enrolment.settings import Settings
from shared.cli import main

main(Settings, build)
