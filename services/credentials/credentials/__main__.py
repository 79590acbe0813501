from credentials.app import build
from credentials.settings import Settings
from shared.cli import main

if __name__ == "__main__":
    main(Settings, build)
