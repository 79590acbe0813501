#!/bin/sh
# Renews the locks: exact versions with hashes, for every supported Python, without any index address.
set -eu
cd "$(dirname "$0")/.."
compile() {
    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-header --no-annotate --no-emit-package shared --no-emit-package catalogue --no-emit-package enrolment \
        --no-emit-package assessment --no-emit-package credentials --no-emit-package payments --no-emit-package gateway \
        "$@"
}
packages="libs/shared services/catalogue services/enrolment services/assessment services/credentials services/payments gateway"
files=""
for package in $packages; do files="$files $package/pyproject.toml"; done
compile requirements/bootstrap.in -o requirements/bootstrap.txt
# shellcheck disable=SC2086 # a list of files without spaces
compile $files deploy/local/pyproject.toml -o requirements/run.txt
compile requirements/dev.in -o requirements/dev.txt
# One lock a service, for its image: the same versions, only what it needs.
for package in $packages; do
    name=$(basename "$package")
    [ "$name" = shared ] && continue
    compile libs/shared/pyproject.toml "$package/pyproject.toml" -c requirements/run.txt -o "requirements/$name.txt"
done
