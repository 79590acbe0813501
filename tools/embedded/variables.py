"""The variables of one service of the platform that `make run` started, for a shell: `eval "$(…)"`."""

import argparse
import shlex
import sys

import httpx

from embedded import ports
from embedded.installation import here, where_it_runs
from embedded.postgres import Postgres
from embedded.services import NAMES, Deployment, keep_secrets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("service", choices=NAMES)
    service: str = parser.parse_args().service
    folder = here()
    url = where_it_runs(folder)
    if url is None:
        sys.exit(f"no platform runs on {folder}: `make run` starts it")
    postgres = Postgres(folder / "postgres")
    deployment = Deployment(
        folder,
        ports.assign({ports.VARIABLE: str(httpx.URL(url).port)}),
        {name: postgres.url(f"mc_{name}", f"mc_{name}") for name in NAMES},
        secrets=keep_secrets(folder),
    )
    own = deployment.environment(service)
    others = {name for one in NAMES for name in deployment.environment(one)} - set(own)
    print(f"unset {' '.join(sorted(others))}")  # as another service's, shown before, would be refused as unknown
    for name, value in own.items():
        print(f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
    main()
