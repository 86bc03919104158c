# Everything runs in .venv, which the first target to need it makes; the files .venv/installed-* say what it holds.

# Threads of torch that wait for work spin by default, and starve whatever else runs, each other included.
export OMP_WAIT_POLICY = PASSIVE

BIN := .venv/bin
SETUP := pyproject.toml constraints-dev.txt scripts/setup.sh

.PHONY: demo test lint napari clean

demo: .venv/installed-base  ## segment the embedded stack, offline, and show where the results are
	$(BIN)/napari-sam2 demo --output napari-sam2-demo --overwrite

test: .venv/installed-dev .venv/installed-display  ## run the test suite
	$(BIN)/python -m pytest -n auto --dist worksteal $(PYTEST_ARGS)

lint: .venv/installed-dev  ## check style, types and the dependency rule
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

napari: .venv/installed-all .venv/installed-display  ## open napari with a time-lapse and the plugin
	$(BIN)/python scripts/open_napari.py

clean:  ## remove the environment
	rm -rf .venv

.venv/installed-display: scripts/setup_display.sh | .venv/installed-base
	sh scripts/setup_display.sh
	@touch $@

.venv/installed-%: $(SETUP)
	sh scripts/setup.sh $*
	@touch $@
