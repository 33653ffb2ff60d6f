# Everything is installed into .venv, nowhere else: what the lock files list, by version and hash.
#   make run PORT=8080         another port
#   make test ARGS="-k hub"    options for pytest (for run: options for streamlit; for lock: options for uv)
PYTHON ?= python3
PORT ?= 8501
BIN := .venv/bin

.PHONY: run test test-fast check lint lock fuzz bench clean

run: .venv/requirements.stamp
	$(BIN)/streamlit run app.py --server.port $(PORT) $(ARGS)

test: .venv/requirements-dev.stamp
	$(BIN)/python -m pytest $(ARGS)

# While working: no weights, no browser, no network, no torch.
test-fast: .venv/requirements-dev.stamp
	$(BIN)/python -m pytest -m "not slow and not weights and not browser" $(ARGS)

# What has to be green before a change is handed in; .ci/run calls it.
check: lint test

lint: .venv/requirements-dev.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/python -m pytest -q tests/test_requirements.py

# After a change of requirements*.txt. What is locked already stays; ARGS="--upgrade" takes what is new.
lock:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -c requirements-dev.txt uv
	$(BIN)/uv pip compile -q $(ARGS) requirements.txt -o requirements.lock
	$(BIN)/uv pip compile -q $(ARGS) requirements-dev.txt -c requirements.lock -o requirements-dev.lock

# Seconds for each fuzzer, and which: ARGS="600 boxes calls". Without hashes, and in no list: nobody else needs it.
fuzz: .venv/requirements-dev.stamp
	$(BIN)/python -m pip install -q atheris==3.0.0
	$(BIN)/python -m tests.fuzz $(ARGS)

bench: .venv/requirements-dev.stamp
	$(BIN)/python -m bench.chat $(ARGS)
	$(BIN)/python -m bench.chatglm $(ARGS)
	$(BIN)/python -m bench.qwen_vl $(ARGS)
	$(BIN)/python -m bench.speech $(ARGS)

clean:
	rm -rf .venv .fuzz .mypy_cache .pytest_cache .ruff_cache

# A stamp is younger than the lists it stands for once all of them is installed. The lock leaves out torch,
# and what a CUDA build of it brings along: the list then installs whichever build pip finds (pyproject.toml
# says why). `pip check` sees to it that all of it fits together.
.venv/%.stamp: %.txt %.lock
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or sys.exit("Quintet needs Python 3.11, 3.12 or 3.13: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --no-deps --require-hashes -r $*.lock
	$(BIN)/python -m pip install -r $*.txt
	$(BIN)/python -m pip check
	@touch $@

.venv/requirements-dev.stamp: .venv/requirements.stamp
