# Needs Python 3.11 or newer, make, and git only to have cloned this. Paths are relative: the clone may stand anywhere.

# The first Python that is new enough; `make setup PYTHON=/path/to/python` names another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)

READY := .venv/.ready
# With bytecode: without it each of the many processes that tests and figures start would compile everything again.
RUN := env -u PYTHONDONTWRITEBYTECODE .venv/bin/python
# Most of the time tests wait for processes that they started: two at once for each processor.
export PYTEST_XDIST_AUTO_NUM_WORKERS ?= $(shell expr 2 \* $$(nproc 2>/dev/null || echo 2))
PIP := $(RUN) -m pip --disable-pip-version-check --quiet
ARGS ?=
ONLY ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench soak format lock build clean

help: ## List these targets
	@grep -hE '^[a-z]+:.*## ' Makefile | sed 's/:.*## /\t/' | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-8s %s\n' "$$name" "$$text"; done

setup: $(READY) ## Make the private environment .venv from the lock (the other targets do it when needed)

# The stamp is written last: what was interrupted is done again.
$(READY): requirements/dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Stackledger needs Python 3.11 or newer, and none was found." \
		"Install one (Debian, Ubuntu: apt install python3 python3-venv)," \
		"or name it: make setup PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is too old or does not start: Stackledger needs Python 3.11 or newer." >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments." \
		"Install the module venv (Debian, Ubuntu: apt install python3-venv)." >&2; exit 1; }
	@echo "Setting up .venv with $$("$(PYTHON)" --version); the first time takes a minute ..." >&2
	@"$(PYTHON)" -m venv .venv
	@$(PIP) install --require-hashes --no-deps -r requirements/dev.txt
	@$(PIP) install --no-index --no-deps --no-build-isolation --editable .
	@touch $(READY)

demo: $(READY) ## Watch the whole of it: stacks, a training pipeline, history, as-of
	@$(RUN) deploy/demo.py

test: $(READY) strace postgresql azurite rabbitmq ## Run the tests (ARGS="-k name" and the like are passed on)
	@$(RUN) -m pytest -n auto --dist loadgroup $(ARGS)

# Not for people, so not in the list.
.PHONY: strace postgresql azurite rabbitmq
# The power-loss tests watch a writer's system calls with it. Where it cannot be had they skip, and fail in CI.
strace:
	@command -v strace >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		echo "Installing strace ..." >&2 && apt-get update -qq && apt-get install -qq -y strace >/dev/null; } || \
		echo "strace is missing: no test of power loss. Install it (Debian, Ubuntu: apt install strace)." >&2

# The tests of logs on servers start one of their own from its programs; the package is kept from starting another.
postgresql:
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || \
		[ -n "$$STACKLEDGER_TEST_POSTGRES" ] || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		echo "Installing postgresql ..." >&2 && mkdir -p /etc/postgresql-common && \
		{ [ -e /etc/postgresql-common/createcluster.conf ] || \
			echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf; } && \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y postgresql >/dev/null; } || \
		echo "postgresql is missing: no test of logs on servers. Install it (Debian, Ubuntu: apt install postgresql)." >&2

# The tests of artifact stores in Azure: newer versions need a newer Node than Debian has.
azurite: .services/azurite
.services/azurite:
	@[ -n "$$STACKLEDGER_TEST_AZURE" ] || { command -v npm >/dev/null && echo "Installing azurite ..." >&2 && \
		npm install --silent --no-audit --no-fund --prefix .services azurite@3.35.0 >&2 && touch $@; } || \
		echo "azurite is missing: no test of artifacts in Azure. Install npm (Debian, Ubuntu: apt install npm)." >&2

# The tests of the fleet start a node of their own from its programs; the package is kept from starting another, which
# it does by asking policy-rc.d wherever there is one.
rabbitmq:
	@[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || [ -n "$$STACKLEDGER_TEST_AMQP" ] || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		echo "Installing rabbitmq-server ..." >&2 && \
		{ [ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d && \
			chmod +x /usr/sbin/policy-rc.d && trap 'rm -f /usr/sbin/policy-rc.d' EXIT; }; } && \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y rabbitmq-server >/dev/null; } || \
		echo "rabbitmq-server is missing: no test of the fleet over a broker." \
			"Install it (Debian, Ubuntu: apt install rabbitmq-server)." >&2

check: $(READY) ## Lint, format, types, the arrows between rooms, the documents
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	.venv/bin/lint-imports --no-logo
	$(RUN) -m pytest -q tests/unit/house tests/unit/cli/test_help.py

bench: $(READY) postgresql rabbitmq ## Measure each figure beside its floor (ONLY="commands append" picks some)
	@$(RUN) -m bench $(ONLY)

soak: $(READY) strace postgresql azurite rabbitmq ## Run the property and fault tests for as long as it is worth
	@SOAK=1 $(RUN) -m pytest -n auto --dist loadgroup $(ARGS)

format: $(READY) ## Format the code and mend what ruff can
	@$(RUN) -m ruff check --fix .
	@$(RUN) -m ruff format .

lock: $(READY) ## Resolve requirements/dev.txt anew (ARGS=--upgrade takes newer versions)
	@$(PIP) install uv
	@.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--extra starter --extra postgres --extra rabbitmq --extra s3 --extra gcs --extra azure --extra observability --group dev \
		--output-file requirements/dev.txt $(ARGS) pyproject.toml

build: $(READY) ## Build the sdist, and from it the wheel, into dist/
	@rm -rf build dist
	@$(RUN) -m build --no-isolation

clean: ## Remove what was built, measured and cached (not .venv)
	@rm -rf build dist .demo .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache src/*.egg-info
	@find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
