#!/bin/sh
# Lines and branches of each package that tests run: all but the slow ones, or those that are named.
set -eu
cd "$(dirname "$0")/.."
bin=.venv/bin
mkdir -p .local/coverage
rm -f .local/coverage/*
$bin/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" --cov --cov-report= "$@" ||
    echo "Some tests failed; what they ran is counted."
$bin/python -m coverage json -q -o .local/coverage/report.json
$bin/python -m coverage html -q -d .local/coverage/html
$bin/python -m embedded.coverage .local/coverage/report.json
echo "Line by line: .local/coverage/html/index.html"
