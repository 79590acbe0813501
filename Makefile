# The commands of the project. `make help` lists them.
SHELL := /bin/sh
PYTHON_IN_VENV := .venv/bin/python
DATA ?= ../shared/data/oulad
LEARNERS ?= 500
BASE_URL ?= http://localhost:$(or $(MC_PORT),8000)

# Compiled modules are kept, whatever the surroundings say: they halve the second start.
unexport PYTHONDONTWRITEBYTECODE
# Where the locale is one that is not installed, Python does not even start in a folder with an accent.
export LC_ALL := C.UTF-8

.DEFAULT_GOAL := help
.PHONY: help run demo demo-award replay test test-quick check bench lock docs

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' Makefile

run: ## the whole platform on this machine (Ctrl-C stops it; MC_PORT moves its ports)
	@deploy/local/setup.sh run
	@exec $(PYTHON_IN_VENV) -m embedded

demo: ## one learner's whole way, told step by step, on the platform that `make run` started
	@deploy/local/setup.sh run
	@exec $(PYTHON_IN_VENV) -m embedded.demo --base-url $(BASE_URL)

demo-award: ## credit to awards and through a revocation, told step by step, on the same platform
	@deploy/local/setup.sh run
	@exec $(PYTHON_IN_VENV) -m embedded.demo_award --base-url $(BASE_URL)

replay: ## real registrations through the public API: DATA=<folder> LEARNERS=<n> [BASE_URL=…]
	@deploy/local/setup.sh run
	@exec $(PYTHON_IN_VENV) -m embedded.replay "$(DATA)" --learners $(LEARNERS) --base-url $(BASE_URL)

test: ## everything, on a real PostgreSQL and a real RabbitMQ
	@deploy/local/setup.sh dev
	@exec $(PYTHON_IN_VENV) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

test-quick: ## all but the slow part
	@deploy/local/setup.sh dev
	@exec $(PYTHON_IN_VENV) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

check: ## style, types, architecture, migrations, generated documents
	@deploy/local/setup.sh dev
	@exec sh deploy/local/check.sh

docs: ## write the generated documents anew (openapi.json, asyncapi.json, events.md)
	@deploy/local/setup.sh dev
	@exec $(PYTHON_IN_VENV) -m embedded.documents

bench: ## ratios against limits measured in the same run
	@deploy/local/setup.sh dev
	@exec $(PYTHON_IN_VENV) -m bench

lock: ## renew the hash locks under requirements/
	@deploy/local/setup.sh dev
	@exec requirements/lock.sh
