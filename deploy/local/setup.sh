#!/bin/sh
# Makes .venv and installs what is locked, and nothing else: `setup.sh run` for the platform, `setup.sh dev` for
# tests and checks besides. Does nothing where it is done already.
set -eu
cd "$(dirname "$0")/../.."
what=${1:-run}

python=""
for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "Python 3.11 or newer is needed; set PYTHON to where it is." >&2
    exit 1
fi
if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    rm -rf .venv
    if ! "$python" -m venv .venv; then
        echo "$python cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2
        exit 1
    fi
fi

packages="libs/shared services/catalogue services/enrolment services/assessment services/credentials services/payments gateway deploy/local"
# What is installed is a function of the locks, our package definitions and where the checkout stands.
wanted=$(
    pwd
    cat requirements/bootstrap.txt requirements/run.txt
    [ "$what" = dev ] && cat requirements/dev.txt
    for package in $packages; do cat "$package/pyproject.toml"; done
)
stamp=.venv/installed-$what
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(printf '%s' "$wanted" | cksum)" ]; then
    exit 0
fi

echo "Installing into .venv …"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
# The machine's own certificates, as pip uses them: a company's proxy signs with its own.
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}"
uv() { VIRTUAL_ENV="$PWD/.venv" .venv/bin/python -m uv "$@"; }
uv pip install --quiet --require-hashes -r requirements/run.txt
[ "$what" = dev ] && uv pip install --quiet --require-hashes -r requirements/dev.txt
set --
for package in $packages; do set -- "$@" -e "$package"; done
# Ours come from here alone: no index is asked, so no stranger's package of the same name can slip in.
uv pip install --quiet --no-index --no-deps --no-build-isolation "$@"
printf '%s' "$wanted" | cksum >"$stamp"
