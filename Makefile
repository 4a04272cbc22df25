# Everything a person needs: `make demo`, `make test`. The rest is for developers.
PY := .venv/bin/python
STAMP := .venv/.ready
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: demo test lint bench format lock setup clean help

help: ## list the targets
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv from the lock file

$(STAMP): requirements.lock pyproject.toml deploy/setup.sh
	@sh deploy/setup.sh

demo: $(STAMP) ## a storm on a river, from MicroPython firmware to the city's broker
	@.venv/bin/tukad hil demo $(DEMO)

test: $(STAMP) ## lint, types, and every test
	@sh deploy/setup.sh tests
	@$(MAKE) --no-print-directory lint
	@$(PY) -m pytest -n auto --dist worksteal $(TESTS)

lint: $(STAMP) ## style, types, and device code through the MicroPython compiler
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/basedpyright
	@.venv/bin/basedpyright -p pyrightconfig.device.json
	@$(PY) -m pytest -q tests/tidy

format: $(STAMP) ## apply the house style
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

bench: $(STAMP) ## figures, as ratios measured in one run
	@case " $(BENCH) " in "  "|*" atcs "*) sh deploy/setup.sh sumo;; esac
	@$(PY) -m tests.bench $(BENCH)

lock: ## resolve pyproject.toml into requirements.lock again
	@sh deploy/setup.sh lock

clean: ## remove what setup and the tests made
	@rm -rf .venv .tools .hypothesis .ruff_cache .pytest_cache var
