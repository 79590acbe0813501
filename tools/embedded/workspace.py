"""The folder of this checkout, and the services it consists of: `services.txt` is the one list of them."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
GATEWAY: Final = "gateway"
BEHIND_THE_GATEWAY: Final = tuple((ROOT / "services.txt").read_text(encoding="utf-8").split())
NAMES: Final = (*BEHIND_THE_GATEWAY, GATEWAY)


def folder_of(name: str) -> str:
    """Return the folder of a service, relative to the checkout."""
    return name if name == GATEWAY else f"services/{name}"
