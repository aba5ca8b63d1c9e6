# `make study` and `make test` work on a fresh clone with git, make and Python >= 3.11 with venv.
PYTHON ?= python3
BIN := .venv/bin
# Written last, so the next call resumes an interrupted installation.
STAMP := .venv/.installed
# `python` in the commands of dvc.yaml is the environment's.
ACTIVE := PATH="$(CURDIR)/$(BIN):$$PATH"
DVC := $(ACTIVE) $(BIN)/python -m dvc
OPEN := @$(BIN)/python -c 'import yaml; s = yaml.safe_load(open("params.yaml"))["study"]; \
  print(f"Open site/{s}/index.html  Tables: reports/{s}/  Notebooks: rendered/")'
# Items of the grid that train side by side, each on `arithmetic.threads` cores. `dvc repro` does
# the rest at the end.
JOBS ?= $(shell nproc 2> /dev/null || echo 2)
# Processes that run the tests; 0: this one alone.
WORKERS ?= 2

# Revisions of `make compare`; an empty one is the working tree.
A ?= HEAD
B ?=

.DEFAULT_GOAL := help
.PHONY: help env study cluster report pdf plots experiments checks compare inspect export mvtec beyond test torture hostile bench latency lint format notebooks-clean record clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 26

env: $(STAMP) .dvc/plots/vega.js ## install the packages of requirements.txt, lib and study into .venv

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "$(PYTHON) must be Python 3.11 to 3.13 with venv (Debian: apt install python3-venv);" \
	       "name another one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install -r requirements.txt
	$(BIN)/python -m pip install --no-deps --no-build-isolation -e .
	@touch $@

# The script of the page of `dvc plots`, so that the page needs no network.
.dvc/plots/vega.js: $(STAMP)
	@$(BIN)/python -c 'import vl_convert; print(vl_convert.javascript_bundle())' > $@

study: env ## run every stage that is out of date, then say where the report is
	@git rev-parse --is-inside-work-tree > /dev/null 2>&1 && test -f .dvc/config \
	  || { echo "DVC needs a git checkout with .dvc/config: get the study with git clone," \
	       "or run 'git init' in the unpacked folder" >&2; exit 1; }
	$(DVC) repro dataset textures
	$(ACTIVE) $(BIN)/python -m study.grid run $(JOBS)
	$(DVC) repro
	$(OPEN)

cluster: env ## the same on many machines: make cluster SCHEDULER=tcp://host:8786 [REMOTE=...] [SOURCE=...]
	$(BIN)/python -m pip install -q -r requirements-cluster.txt
	$(DVC) repro dataset textures
	$(ACTIVE) $(BIN)/python -m study.cluster $(or $(SCHEDULER),$(error name SCHEDULER=tcp://host:port: docs/cluster.md)) \
	  --remote "$(REMOTE)" --source "$(or $(SOURCE),$(CURDIR))"
	$(DVC) repro --pull
	$(OPEN)

report: env ## bring the site up to date with the study, and say where it opens
	$(DVC) repro site
	$(OPEN)

pdf: env ## the study as a paper of a few pages, from the same numbers as the site
	@$(BIN)/python -m study.site.pdf

plots: env ## curves and tables of `dvc plots show`, on a page that needs no network
	$(DVC) plots show

experiments: env ## all experiments beside the commits: changed parameters and the method's figures
	@$(ACTIVE) $(BIN)/python -m study.tables.experiments

compare: env ## compare two experiments: make compare A=<rev> B=<rev>; without B: the working tree
	@$(ACTIVE) $(BIN)/python -m study.site.comparison "$(A)" "$(B)"

inspect: env ## score new images: make inspect IMAGES=<folder or file> [CATEGORY=] [ALPHA=] [MAP=] [SEED=] [OUT=]
	@$(BIN)/python -m study.inspector.inspect "$(IMAGES)" $(if $(CATEGORY),--category "$(CATEGORY)") \
	  $(if $(ALPHA),--alpha "$(ALPHA)") $(if $(MAP),--map "$(MAP)") $(if $(SEED),--seed "$(SEED)") \
	  $(if $(OUT),--out "$(OUT)")

export: env ## write the calibrated model of each category to exported/<category>.onnx
	$(BIN)/python -m pip install -q -r requirements-export.txt
	@$(BIN)/python -m study.inspector.export

mvtec: env ## get MVTec AD, DTD and ResNet-18's weights; verify and unpack them
	@$(BIN)/python -m study.data.fetch

beyond: env ## answer questions beyond the paper: train profiles/beyond.yaml, render its notebooks
	$(BIN)/python -m pip install -r requirements-beyond.txt
	$(BIN)/python -m study.data.elpv monocrystalline
	$(BIN)/python -m study.beyond.run
	$(BIN)/python -m study.beyond.cells
	$(BIN)/python -m study.beyond.summary
	for name in corruption equality averaging selection scaling; do \
	  $(ACTIVE) $(BIN)/python -m study.notebook notebooks/$$name.ipynb rendered/beyond/$$name.ipynb \
	  || exit 1; done

test: env lint ## lint and tests
	$(ACTIVE) OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile \
	  --no-loadscope-reorder

torture: env ## kill the pipeline 20 times and compare with an undisturbed run: reports/torture.md
	$(ACTIVE) $(BIN)/python tests/helpers/torture.py --kills 20

hostile: env ## every bad input and the message that it gets: reports/hostile.md
	PYTHONPATH=.:tests/study $(BIN)/python tests/helpers/hostile.py

bench: env ## time the study beside a plain implementation: reports/benchmark/
	$(BIN)/python -m bench.run

latency: env ## time the inspector in torch and in ONNX Runtime: reports/benchmark/latency-*.md
	$(BIN)/python -m bench.latency $(CATEGORY)

checks: env ## run and time the tests that the site names under "Can I trust this?"
	$(BIN)/python -m study.site.evidence

lint: env ## ruff, without changing anything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: env ## let ruff order imports and lay out the code
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

notebooks-clean: env ## strip outputs from notebooks/
	$(BIN)/nbstripout --keep-id notebooks/*.ipynb

record: env ## write down commit, device, versions and wall time of the run, in the site as well
	$(BIN)/python -m study.record
	$(DVC) repro -s site

clean: ## remove what runs and tools leave behind; results and the environment stay
	rm -rf failed logs .checkpoints .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
