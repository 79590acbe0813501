"""The commands of enrolment: those of every service, and files."""

from enrolment.app import build
from enrolment.settings import Settings
from shared.cli import main
from shared.orphans import files_command

main(Settings, build, [files_command(lambda: build(Settings()).resources)])  # pyright: ignore[reportCallIssue] - read from the environment
