# reflexarc: every target makes what it needs first; a second call installs nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
E2E := tests/e2e
WEB := client_sdk/web
RELEASED := $(shell ls tests/skew/contract | sort -V | tail -n 1)
PROTO_FILES := $(shell find proto/reflexarc_proto -name '*.proto' | sort)
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help venv demo test lint proto catalog web setup-e2e test-e2e test-soak bench clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

venv: $(VENV)/.ready ## the environment in .venv

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed (PYTHON=...)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: venv ## the whole loop; DATA=path for a real file, MAP=, DAYS=, ARGS=
	$(BIN)/reflexarc demo $(if $(DATA),--data $(DATA)) $(if $(MAP),--map $(MAP)) $(if $(DAYS),--days $(DAYS)) $(ARGS)

# Whole processes, with kills, forks and cut networks: they take both cores or a clock's word for it, so they run alone.
PROCESSES := tests/promises tests/processes
# Whole commands on whole logs, and the longest searches: they share the cores, a file at a time.
LONG := tests/airgap $(wildcard tests/cli/test_training*.py tests/cli/test_evaluate*.py) tests/core/test_engine_machine.py
SHARED := -n 2 --dist loadfile --durations=40 --durations-min=5

test: venv ## unit, property and parity tests (Python only)
	$(BIN)/python -m pytest tests $(addprefix --ignore=,$(E2E) tests/fuzz tests/soak $(PROCESSES) $(LONG)) $(SHARED) $(ARGS)

lint: venv $(E2E)/node_modules/.ready ## ruff, mypy strict, buf lint and breaking, layers
	$(BIN)/ruff check .
	$(BIN)/mypy
	cd proto && ../$(E2E)/node_modules/.bin/buf lint
	cd proto && ../$(E2E)/node_modules/.bin/buf breaking --against ../tests/skew/contract/$(RELEASED)
	$(BIN)/python -m pytest tests/house $(ARGS)

proto: venv ## regenerate the code of the .proto files
	$(BIN)/python -m grpc_tools.protoc -I proto --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy \
	  --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc --python_out=proto --grpc_python_out=proto \
	  --mypy_out=quiet:proto --mypy_grpc_out=quiet:proto $(patsubst proto/%,%,$(PROTO_FILES))
	@find proto -name '*_pb2_grpc.py*' | while read f; do b=$${f%_pb2_grpc.py*}; grep -q '^service ' $$b.proto || rm -f $$f; done

web: $(WEB)/node_modules/.ready ## check and rebuild the bundles of the browser SDK
	cd $(WEB) && npx --no-install tsc --noEmit -p . && node build.mjs

catalog: venv ## rebuild the catalog that ships with the client
	$(BIN)/reflexarc catalog build examples/catalog/automations.yaml -o client_sdk/reflexarc/shipped_catalog.json

setup-e2e: venv $(E2E)/node_modules/.ready $(WEB)/node_modules/.ready ## what the end-to-end tests and the benchmarks' peers need (Node packages, Chromium, Dovecot, PostgreSQL, wrk)
	@if command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q postgresql; \
	else echo "PostgreSQL is not installed: the benchmark \`ingest\` goes without this peer"; fi
	@if command -v chromium >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q chromium; \
	else echo "Chromium is not installed: the tests of the browser SDK need it"; fi
	@if PATH="$$PATH:/usr/sbin" command -v dovecot >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q dovecot-imapd; \
	else echo "Dovecot is not installed: the tests of IMAP need it"; fi
	@if command -v wrk >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q wrk; \
	else echo "wrk is not installed: the benchmark \`http\` cannot run"; fi

$(E2E)/node_modules/.ready: $(E2E)/package.json
	@command -v npm >/dev/null || { echo "npm is needed for this target: install Node.js 20 or newer"; exit 1; }
	cd $(E2E) && npm install --no-audit --no-fund --silent
	@touch $@

$(WEB)/node_modules/.ready: $(WEB)/package.json
	@command -v npm >/dev/null || { echo "npm is needed for this target: install Node.js 20 or newer"; exit 1; }
	cd $(WEB) && npm install --no-audit --no-fund --silent
	@touch $@

test-e2e: setup-e2e ## foreign clients, whole processes, the promises, the demo, ten seconds of fuzzing a target
	$(BIN)/python -m pytest $(LONG) $(SHARED) $(ARGS)
	$(BIN)/python -m pytest $(PROCESSES) $(ARGS)
	$(BIN)/python -m pytest $(E2E) tests/fuzz $(ARGS)

test-soak: venv ## long runs; prints promise, runs, seeds, lost, duplicated, verdict
	@if ls tests/soak/test_*.py >/dev/null 2>&1; then $(BIN)/python -m pytest tests/soak -s $(ARGS); \
	else echo "no soak tests yet"; fi

$(VENV)/.bench-ready: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@

bench: $(VENV)/.bench-ready ## the latency suite beside its peers; ID=decide QUICK=1 JSON=1
	@$(BIN)/python -m benchmarks $(or $(ID),all) $(if $(QUICK),--quick) $(if $(JSON),--json)

clean: ## remove the environment and caches
	rm -rf $(VENV) $(E2E)/node_modules $(WEB)/node_modules .mypy_cache .ruff_cache .pytest_cache
