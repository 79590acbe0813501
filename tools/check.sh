#!/bin/sh
# Everything a machine can check without running the platform. Stops at the first that fails.
set -eu
cd "$(dirname "$0")/.."
run() {
    echo "· $1"
    shift
    "$@"
}
bin=.venv/bin
run "style" $bin/python -m ruff check .
run "format" $bin/python -m ruff format --check .
run "types" $bin/python -m basedpyright
run "types of tests and bench" $bin/python -m basedpyright -p pyrightconfig.tests.json
run "architecture" $bin/python -m embedded.architecture
run "list of services" $bin/python -m embedded.listed
run "migrations" $bin/python -m embedded.migrations
run "schema" $bin/python -m embedded.schema
run "generated documents" $bin/python -m embedded.documents --check
run "papers" $bin/python -m pytest -q -p no:cacheprovider tests/test_references.py tests/test_settings_page.py tests/test_metrics_page.py tests/test_renamed.py tests/test_rules_paper.py tests/test_templates.py tests/test_door.py
if command -v shellcheck >/dev/null; then
    # shellcheck disable=SC2046 # file names of ours, without spaces
    run "shell" shellcheck $(git ls-files '*.sh') .ci/run
else
    echo "· shell: left out, there is no shellcheck"
fi
run "image" $bin/hadolint deploy/docker/Dockerfile
if command -v docker-compose >/dev/null; then
    made=$(mktemp)
    trap 'rm -f "$made"' EXIT
    deploy/docker/make-env.sh >"$made"
    run "compose" docker-compose --env-file "$made" config --quiet
else
    echo "· compose: left out, there is no docker-compose"
fi
