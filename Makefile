# Everything is installed into .venv, nowhere else.
#   make run PORT=8080         another port
#   make test ARGS="-k hub"    options for pytest (for run: options for streamlit)
PYTHON ?= python3
PORT ?= 8501
BIN := .venv/bin

.PHONY: run test lint bench clean

run: .venv/requirements.stamp
	$(BIN)/streamlit run app.py --server.port $(PORT) $(ARGS)

test: .venv/requirements-dev.stamp
	$(BIN)/python -m pytest $(ARGS)

lint: .venv/requirements-dev.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: .venv/requirements-dev.stamp
	$(BIN)/python -m bench.chat $(ARGS)
	$(BIN)/python -m bench.chatglm $(ARGS)
	$(BIN)/python -m bench.qwen_vl $(ARGS)
	$(BIN)/python -m bench.speech $(ARGS)

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache

# A stamp is younger than the list it stands for once all of the list is installed.
.venv/%.stamp: %.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Quintet needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -r $<
	@touch $@

.venv/requirements-dev.stamp: .venv/requirements.stamp
