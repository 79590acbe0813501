#!/bin/sh
# Renews the locks: exact versions with hashes, for every supported Python, without any index address.
# `lock.sh <service>` renews that service's alone, within the versions that are locked already.
set -eu
cd "$(dirname "$0")/.."
packages="libs/shared libs/openbadges $(sed 's|^|services/|' services.txt) gateway"
files=""
ours=""
for package in $packages; do
    files="$files $package/pyproject.toml"
    ours="$ours --no-emit-package $(basename "$package")"
done
compile() {
    # shellcheck disable=SC2086 # a list of names without spaces
    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-header --no-annotate $ours "$@"
}
# One lock a service, for its image: the same versions, only what it needs.
of_service() {
    compile libs/shared/pyproject.toml "$1/pyproject.toml" -c requirements/run.txt -o "requirements/$(basename "$1").txt"
}
if [ $# -gt 0 ]; then
    of_service "services/$1"
    exit
fi
compile requirements/bootstrap.in -o requirements/bootstrap.txt
# shellcheck disable=SC2086 # a list of files without spaces
compile $files tools/pyproject.toml -o requirements/run.txt
compile requirements/dev.in -o requirements/dev.txt
for package in $packages; do
    case $package in libs/*) ;; *) of_service "$package" ;; esac
done
