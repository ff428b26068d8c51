# Every target brings what it needs first (scripts/setup): packages of the distribution, which takes
# root, and the virtual environment .venv. Where all of it is there, that takes a moment.
# Pass arguments on with ARGS: make top ARGS="--once".

VENV := .venv
PYTHON := $(VENV)/bin/python
ARGS ?=

# Else packages of ~/.local would count as installed, which another user does not have.
export PYTHONNOUSERSITE := 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help top demo test test-kernels lint format bench bench-detection bench-reliability screenshots wheel clean

help: ## Show every target
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | \
		while IFS='|' read -r target text; do printf '  make %-17s %s\n' "$$target" "$$text"; done
	@printf '\nArguments: make top ARGS="--once", make test ARGS="tests/unit -k limits"\n'

top: ## Show who makes all these threads, live (root); installs what is missing
	@scripts/setup top
	@trap : INT; $(VENV)/bin/threadtrace top $(ARGS) || \
		{ code=$$?; [ $$code -eq 130 ] || exit $$code; } # Ctrl-C is how it ends

demo: ## Play two incidents of PID exhaustion in small, harmless, and explain them (root)
	@scripts/setup demo
	@trap : INT; $(VENV)/bin/threadtrace demo $(ARGS) || \
		{ code=$$?; [ $$code -eq 130 ] || exit $$code; }

test: ## Run the tests; what they need is installed as root, and tests are skipped without it
	@scripts/setup test
	@$(PYTHON) -m pytest $(ARGS)

test-kernels: ## Run tests on all kernels of vagrant/kernels.toml, in guests; one: KERNEL=6.12
	@scripts/setup test-kernels $(KERNEL)
	@$(PYTHON) vagrant/run-kernels $(KERNEL) -- $(ARGS)

lint: ## Check style, types, layering and the format of the kernel programs
	@scripts/setup lint
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/clang-format --dry-run -Werror bpf/*.c bpf/*.h

format: ## Bring Python and C sources into the style that lint demands
	@scripts/setup lint
	$(PYTHON) -m ruff check --select I --fix
	$(PYTHON) -m ruff format
	$(VENV)/bin/clang-format -i bpf/*.c bpf/*.h

bench: ## Measure the overhead, beside other tools (root)
	@scripts/setup bench
	@$(PYTHON) -m bench $(ARGS)

bench-detection: ## Is what explodes called, and nothing else? (root, 15 minutes)
	@scripts/setup bench-detection
	@$(PYTHON) -m bench.detection $(ARGS)

bench-reliability: ## What the node agent withstands, on real parts (root, 50 minutes)
	@scripts/setup bench-reliability
	@$(PYTHON) -m bench.reliability $(ARGS)

screenshots: ## Make the pictures of the live view in docs/images, of a recording
	@scripts/setup wheel
	@$(PYTHON) scripts/screenshots

wheel: ## Build a wheel into dist/
	@scripts/setup wheel
	$(PYTHON) -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir dist .

clean: ## Remove .venv, dist/, caches: all that make made
	rm -rf $(VENV) dist build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
