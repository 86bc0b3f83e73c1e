# A bare Python (3.10 to 3.12) and make are enough: everything else comes from PyPI into .venv.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

# Google's client does not go together with the local Argilla's server (its httpx and pydantic).
GCP := .engines/gcp

.PHONY: venv demo test test-runners test-packages test-dataflow lint bench clean

venv: $(VENV)/.installed

$(VENV)/.installed: setup.py
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore:::setuptools.command.editable_wheel $(PY) -m pip install --quiet --editable '.[dev]'
	touch $@

# A local Argilla with a sample of generations. DEMO_ARGS=--exit stops after the load; --port=0 takes any free port.
demo: venv
	$(PY) -m pipelines.demo $(DEMO_ARGS)

# Three files at a time, each with an Argilla of its own, for they wait a fifth of their time. TEST_ARGS go to pytest.
test: venv lint
	$(PY) -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(TEST_ARGS)

# What people and workers install, in clean environments.
test-packages: venv
	$(PY) -m pytest tests/packages $(TEST_ARGS)

# What is sent to Dataflow, by Google's client (1 GB, installed once), to a cloud of this machine.
test-dataflow: venv $(GCP)/.installed
	$(PY) -m pytest tests/dataflow $(TEST_ARGS)

$(GCP)/.installed: setup.py
	$(PYTHON) -m venv $(GCP)
	$(GCP)/bin/python -m pip install --quiet --upgrade pip
	$(GCP)/bin/python -m pip install --quiet '.[gcp]'
	touch $@

# On Prism, Flink, Spark and several processes, and with OpenSearch and PostgreSQL under Argilla. They need Go, Java 17 and
# Maven, or PostgreSQL, and are kept in .engines; what is missing is said, and left out. Two engines at a time, each with
# an Argilla of its own.
test-runners: venv
	$(PY) -m tests.engines.installed
	tests/engines/alone.sh $(PY) -m pytest tests/engines tests/opensearch tests/postgresql --timeout 900 \
		--numprocesses 2 --dist loadgroup $(TEST_ARGS)

lint: venv
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: venv
	$(PY) -m benchmarks.grouping --rows 200000 2000000
	$(PY) -m benchmarks.sink
	$(PY) -m benchmarks.local
	$(PY) -m benchmarks.reading
	$(PY) -m benchmarks.start

clean:
	rm -rf $(VENV) $(GCP) .demo build dist *.egg-info
