from payments.app import build
from payments.settings import Settings
from shared.cli import main

if __name__ == "__main__":
    main(Settings, build)
