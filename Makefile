# The commands of the project. `make help` lists them.
SHELL := /bin/sh
PYTHON_IN_VENV := .venv/bin/python
DATA ?= ../shared/data/oulad
LEARNERS ?= 500
SEEDS ?= 20
# Another platform than the one that `make run` started here: BASE_URL=https://…
AT = $(if $(BASE_URL),--base-url "$(BASE_URL)")

.DEFAULT_GOAL := help
.PHONY: help run demo demo-award replay test test-quick test-failed coverage simulate check migration bench lock docs service

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' Makefile

run: ## the whole platform on this machine (Ctrl-C stops it; MC_PORT moves its ports)
	@exec tools/setup.sh run $(PYTHON_IN_VENV) -m embedded

demo: ## one learner's whole way, printed step by step, on the platform that `make run` started
	@exec tools/setup.sh run $(PYTHON_IN_VENV) -m embedded.demo $(AT)

demo-award: ## credit to awards and through a revocation, printed step by step, on the same platform
	@exec tools/setup.sh run $(PYTHON_IN_VENV) -m embedded.demo_award $(AT)

replay: ## real registrations through the public API: DATA=<folder> LEARNERS=<n> [BASE_URL=…]
	@exec tools/setup.sh run $(PYTHON_IN_VENV) -m embedded.replay "$(DATA)" --learners $(LEARNERS) $(AT)

test: ## everything, on a real PostgreSQL and a real RabbitMQ
	@exec tools/setup.sh dev $(PYTHON_IN_VENV) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

test-quick: ## all but the slow part
	@exec tools/setup.sh dev $(PYTHON_IN_VENV) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-failed: ## what failed last, alone and three times, if it is little: it is broken, or flaky and named
	@exec tools/setup.sh dev tools/failed_alone.sh

coverage: ## lines and branches that the tests run, per package: [TESTS=services/payments]
	@exec tools/setup.sh dev tools/coverage.sh $(TESTS)

simulate: ## the platform under random lives: SEEDS=<n> fresh ones, SEED=<n> one, BLIND=1 [FAULT=…] whether it sees
	@exec tools/setup.sh dev $(PYTHON_IN_VENV) -m simulation --seeds $(SEEDS) $(if $(SEED),--seed $(SEED)) \
		$(if $(BLIND),--blind) $(if $(FAULT),--fault $(FAULT))

check: ## style, types, architecture, migrations, schema, generated documents
	@exec tools/setup.sh dev tools/check.sh

migration: ## write the migration for what tables.py says anew: SERVICE=<name, or messaging> NAME=<what_it_creates>
	@exec tools/setup.sh dev $(PYTHON_IN_VENV) -m embedded.write_migration "$(SERVICE)" "$(NAME)"

docs: ## write the generated documents anew (openapi.json, asyncapi.json, events.md, settings.md, metrics.md)
	@exec tools/setup.sh dev $(PYTHON_IN_VENV) -m embedded.documents

bench: ## ratios against limits measured in the same run
	@exec tools/setup.sh dev $(PYTHON_IN_VENV) -m bench

lock: ## renew the hash locks under requirements/
	@exec tools/setup.sh dev requirements/lock.sh

service: ## a new service from the template: NAME=<name>
	@exec tools/setup.sh dev $(PYTHON_IN_VENV) -m embedded.new_service "$(NAME)"
