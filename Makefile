# Cordboard: the daily commands.  `make` alone lists them.
# Needs Python 3.11 or newer, make and the package registries; nothing needs root.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup test lint demo run reload publish drain upgrade calls queues agents failed retry replay backfill backup restore check rehearse manual test-switch bench bench-queue chaos clean

help: ## List these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /|/' | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(READY) ## Make the virtual environment with the locked dependencies

$(READY): requirements.lock setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Cordboard needs Python 3.11 or newer; set PYTHON=")'
	@echo "Installing the locked dependencies into $(VENV) (once; about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

test: $(READY) lint ## Check the style and the types, then run all tests
	@$(BIN)/python -m pytest

lint: $(READY) ## Check the style and the types only
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

demo: $(READY) ## Place calls through routing/ on a stand-in switch, tell what happened and what is left (KEEP=1 keeps it up)
	@KEEP="$(KEEP)" $(BIN)/python -m scripts.demo

run: $(READY) ## Serve routing/ (ROUTING=directory) to a real switch, with workers, API and a store; `. etc/env` has commands ask it
	@$(if $(ROUTING),CORDBOARD_ROUTING="$(abspath $(ROUTING))") $(BIN)/python -m scripts.run

publish: $(READY) ## Publish routing/ after saying what changes and asking what must be asked (WHY="a reason", while make run serves it)
	@$(BIN)/cordboard publish $(if $(WHY),--why "$(WHY)")

# The server that make run started, unless variables name another.
SERVED = { test -n "$$CORDBOARD_CONFIG" || { test -e etc/env && . ./etc/env; } || { \
	echo "Nothing is served from here: make run does it, or name the server with CORDBOARD_CONFIG and CORDBOARD_REDIS."; exit 3; }; }
CORDBOARD = @$(SERVED) && $(BIN)/cordboard

reload: $(READY) ## Publish what was changed in routing/ and say what came of it
	$(CORDBOARD) reload

drain: $(READY) ## Take no more calls here, hand over what there is (ALL=1: the whole machine, once nothing is left to it)
	$(CORDBOARD) drain $(if $(ALL),--all)

upgrade: $(READY) ## Have what runs here become the next release, without losing a call (scripts/UPGRADE.md)
	$(CORDBOARD) upgrade

calls: $(READY) ## List the last calls (COMPANY=acme SINCE=2h NUMBER=4567 MISSED=1 LIVE=1)
	$(CORDBOARD) $(if $(LIVE),live,calls) $(if $(COMPANY),--company "$(COMPANY)") $(if $(SINCE),--since "$(SINCE)") $(if $(NUMBER),--number "$(NUMBER)") $(if $(MISSED),--missed)

queues: $(READY) ## List the queues; NAME=sales: who waits in that one, WHY=1: and why
	$(CORDBOARD) queue $(if $(NAME),"$(NAME)") $(if $(WHY),--why)

agents: $(READY) ## Say what the agents do just now
	$(CORDBOARD) agents

failed: $(READY) ## List what failed and will not go by itself, with what to do (KIND=mail)
	$(CORDBOARD) failed $(if $(KIND),--kind "$(KIND)")

retry: $(READY) ## Try again at once what failed or waits (KIND=delivery, mail, recording)
	$(CORDBOARD) retry $(KIND)

replay: $(READY) ## Send webhooks of a range of time again: COMPANY=acme ENDPOINT=ep_… SINCE=2026-11-26T09:00Z
	$(CORDBOARD) replay "$(COMPANY)" "$(ENDPOINT)" --since "$(SINCE)" $(if $(UNTIL),--until "$(UNTIL)") $(if $(AGAIN),--again)

backfill: $(READY) ## Take facts that the journal has not got, from STATE and the stream (FROM=file or directory, TELL=1)
	$(CORDBOARD) backfill $(FROM) $(if $(TELL),--tell)

backup: $(READY) ## Write all that this Cordboard knows into FILE=….tar.gz, while it runs
	$(CORDBOARD) backup "$(FILE)"

restore: $(READY) ## Make a Cordboard of a backup: FILE=….tar.gz INTO=directory, with an empty Redis in CORDBOARD_REDIS
	@$(BIN)/cordboard restore "$(FILE)" --into "$(INTO)"

check: $(READY) ## Check routing/
	@$(BIN)/cordboard check routing

rehearse: $(READY) ## Walk the rehearsals of routing/
	@$(BIN)/cordboard rehearse routing

manual: $(READY) ## Write what is made from the program: the manual, the JSON Schemas, the picture in the README, webhooks/EVENTS.md
	@$(BIN)/cordboard manual > routing/MANUAL.md.new
	@mv routing/MANUAL.md.new routing/MANUAL.md
	@$(BIN)/cordboard schema > routing/cordboard.schema.json.new
	@mv routing/cordboard.schema.json.new routing/cordboard.schema.json
	@$(BIN)/cordboard schema --rehearsals > routing/rehearsals.schema.json.new
	@mv routing/rehearsals.schema.json.new routing/rehearsals.schema.json
	@$(BIN)/cordboard graph routing --company acme --flow reception -o - > routing/reception.svg.new
	@mv routing/reception.svg.new routing/reception.svg
	@$(BIN)/cordboard events --document > webhooks/EVENTS.md.new
	@mv webhooks/EVENTS.md.new webhooks/EVENTS.md

test-switch: $(READY) ## Acceptance calls on a real FreeSWITCH: make test-switch FREESWITCH=/path/to/freeswitch (CHAOS=calls)
	@test -z "$(FREESWITCH)" || test -x "$(FREESWITCH)" || { echo "$(FREESWITCH) is not a program that can be run"; exit 2; }
	@CORDBOARD_TEST_FREESWITCH="$(FREESWITCH)" $(if $(CHAOS),CORDBOARD_TEST_CHAOS="$(CHAOS)") $(BIN)/python -m pytest -rs -m switch tests/switch

bench: $(READY) ## Measure: CPU and delay of a call, memory, takeover (ONLY=part CALLS=n FREESWITCH=/path JSON=file)
	@$(BIN)/python -m scripts.bench --only "$(ONLY)" $(if $(CALLS),--calls "$(CALLS)") --freeswitch "$(FREESWITCH)" --json "$(JSON)"

bench-queue: $(READY) ## Measure queues: idle agents, delays, decisions (ONLY=part DECISIONS=n FREESWITCH=/path JSON=file)
	@$(BIN)/python -m scripts.bench.queues --only "$(ONLY)" $(if $(DECISIONS),--decisions "$(DECISIONS)") --freeswitch "$(FREESWITCH)" --json "$(JSON)"

chaos: $(READY) ## Storms that must lose nothing: killed uploads, facts to webhooks, upgrades (ONLY=uploads, deliveries, upgrade; some 10 minutes)
	@$(BIN)/python -m scripts.chaos $(ONLY)

clean: ## Remove the virtual environment and the caches (etc/, state/ and spool/ stay)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
