# Everything a developer runs. `make help` lists it.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
CODE := reconcile consumer deploy benchmarks examples tests
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header
ALONE := tests/faults tests/simulation  # they take every core by themselves, and the first shows what servers it builds
# A process that dies ends the run: one that replaces it is given files that are done, and pytest-xdist 3.8 waits for ever.
SPREAD := --numprocesses=auto --dist=loadfile --max-worker-restart=0
EXTRA := $(BIN)/python -c 'import sys, tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"][sys.argv[1]], sep="\n")'

.DEFAULT_GOAL := help
.PHONY: help setup demo test proof faults check fmt lock sbom audit up down clean
.PHONY: bench bench-stream bench-poison bench-burst bench-mass bench-latency bench-sweep bench-replay bench-rivals
.PHONY: bench-scaling bench-metrics bench-profile bench-large

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## a virtual environment with everything locked (PYTHON=python3.12 chooses another)

$(READY): requirements/uv.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is not a Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' || { echo "$(PYTHON) comes without venv: install it (Debian, Ubuntu: python3-venv) or choose another with PYTHON="; exit 1; }
	@echo "setup: virtual environment (.venv)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@echo "setup: locked packages"
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt || \
	    { echo "setup: uv does not read pip's settings; pip tries with its own"; \
	      $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt; }
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY)  ## the main job on real servers, shown and checked (KEEP=1 leaves all running)
	@$(BIN)/python -m deploy.local.demo

test: $(READY)  ## every test, on real servers
	@failed=0; \
	    $(BIN)/python -m pytest $(ALONE) || failed=1; \
	    $(BIN)/python -m pytest $(SPREAD) $(addprefix --ignore=,$(ALONE)) || failed=1; \
	    exit $$failed

proof: $(READY)  ## the long form of the simulation
	@RECONCILER_TEST_LONG=1 $(BIN)/python -m pytest tests/simulation

faults: $(READY)  ## the long form of the fault tests and of the races
	@RECONCILER_TEST_LONG=1 $(BIN)/python -m pytest tests/faults tests/integration/test_races*.py

check: $(READY)  ## format, rules, types, imports
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(READY)  ## format, and mend what can be mended
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

lock: $(READY)  ## choose versions anew, within pyproject.toml's bounds
	$(COMPILE) --upgrade pyproject.toml -o requirements/runtime.txt
	$(COMPILE) --upgrade pyproject.toml --extra stack --extra dev -o requirements/dev.txt
	for extra in go java postgres browser rivals profiler sbom audit; do $(EXTRA) $$extra | $(COMPILE) --upgrade - -o requirements/$$extra.txt || exit 1; done
	echo uv | $(COMPILE) --upgrade - -o requirements/uv.txt
	echo hatchling | $(COMPILE) --constraint requirements/dev.txt - -o requirements/build.txt

sbom: $(READY)  ## what an installation consists of, as CycloneDX, in dist/
	@$(BIN)/python -m deploy.local.sbom dist/sbom.cdx.json

audit: $(READY)  ## known vulnerabilities of what is locked, asked of a public database; says where it could not ask
	@$(BIN)/python -m deploy.local.audit

up: $(READY)  ## start PostgreSQL, Kafka and MinIO, leave them running, say how to reach them
	@$(BIN)/python -m deploy.local.stack up

down: $(READY)  ## end what `make up` started
	@$(BIN)/python -m deploy.local.stack down

# what a server in a container takes cannot be seen, nor its objects be copied in place
bench-%: export RECONCILER_SERVERS ?= native

bench-stream: $(READY)  ## events through Kafka to the database, a second
	@$(BIN)/python -m benchmarks.stream

bench-burst: $(READY)  ## a burst of removals beside fresh events
	@$(BIN)/python -m benchmarks.burst

bench-mass: $(READY)  ## a mass deletion: the brake, and its release
	@$(BIN)/python -m benchmarks.mass

bench-latency: $(READY)  ## from the deletion to the flag
	@$(BIN)/python -m benchmarks.latency

bench-sweep: $(READY)  ## the full comparison
	@$(BIN)/python -m benchmarks.sweep

bench-poison: $(READY)  ## the same where every second record is poison
	@$(BIN)/python -m benchmarks.poison

bench-replay: $(READY)  ## a day of events, again
	@$(BIN)/python -m benchmarks.replay

bench-rivals: $(READY)  ## what one would use instead of the stream, and of the sweep
	@$(BIN)/python -m benchmarks.rivals
	@$(BIN)/python -m benchmarks.notified
	@$(BIN)/python -m benchmarks.sweeps

bench-scaling: $(READY)  ## more consumers of one group, more workers of one sweep
	@$(BIN)/python -m benchmarks.scaling consumers sweeps

bench-large: $(READY)  ## millions of objects, rows, findings and events (an hour)
	@$(BIN)/python -m benchmarks.sweep --objects 2000000 --lines 2000000 --rounds 1
	@$(BIN)/python -m benchmarks.sweeps --objects 2000000 --rounds 1
	@$(BIN)/python -m benchmarks.sweeps --lines 10000000 --rounds 1
	@$(BIN)/python -m benchmarks.scaling findings rows backlog

bench-metrics: $(READY)  ## what the metrics cost the stream
	@$(BIN)/python -m benchmarks.metered

bench-profile: $(READY)  ## where the time goes on each hot path
	@$(BIN)/python -m benchmarks.profiling

bench: bench-stream bench-latency bench-rivals bench-sweep bench-scaling bench-mass  ## all of them but the large (an hour and a half)
bench: bench-burst bench-replay bench-poison bench-metrics bench-profile

clean:  ## remove what setup and the tools made here (the servers' cache stays)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
