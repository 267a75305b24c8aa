# Two commands matter: `make quickstart` and `make test`. Both make their own virtual environment.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
QUICK  ?=

.PHONY: help quickstart test check bench calibrate soak paper recipes ui example clean

help: ## Say what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

quickstart: $(VENV)/installed ## Train vanilla PPO and PPO-max side by side and write the report
	$(BIN)/workbench ablate ablations/quickstart.yaml $(ARGS)

test: check ## Lint, check types and run every test
	$(BIN)/pytest -n 2 tests

check: $(VENV)/installed-dev ## Lint and check types only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/installed-dev ## Compare the speed with TRL's PPO, the arithmetic floor and generate; the cost of tracking (QUICK=1: two minutes)
	$(BIN)/python -m tests.benchmarks.tracking_overhead $(if $(QUICK),--quick)
	$(BIN)/python -m tests.benchmarks.sampling_speed $(if $(QUICK),--quick)
	$(BIN)/python -m tests.benchmarks.ppo_speed $(if $(QUICK),--quick)

calibrate: $(VENV)/installed-dev ## Count how often the statistics are right, on studies whose answer is known (QUICK=1: a tenth)
	$(BIN)/python -m tests.calibration $(if $(QUICK),--quick)

soak: $(VENV)/installed-dev ## Faults at full size: databases locked for 30 s, a study of 207 trials whose workers are killed
	$(BIN)/pytest -m soak tests
	$(BIN)/python -m tests.soak.killed_study

paper: $(VENV)/installed ## Run the studies of the PPO paper, figure by figure, and decide its claims (hours; goes on where it was)
	$(BIN)/python -m ablations.paper $(ARGS)
	$(BIN)/workbench claims --home runs/paper

recipes: $(VENV)/installed ## Compare every published recipe, the parts of PPO-max and KL weights on the embedded tasks (hours; goes on where it was)
	for study in leave_one_out add_one_in recipes; do \
	  $(BIN)/workbench ablate ablations/studies/$$study.yaml $(ARGS) && \
	  $(BIN)/workbench ablate ablations/studies/$$study.yaml --set name=$${study}_randomwalks --set task.name=randomwalks \
	    --set ppo.max_response_tokens=10 $(ARGS) || exit; done
	$(BIN)/workbench ablate ablations/studies/kl_weight.yaml $(ARGS)

ui: $(VENV)/installed ## Open the MLflow UI on your runs
	$(BIN)/workbench ui

example: $(VENV)/installed ## Open the MLflow UI on the runs that come with the project
	$(BIN)/workbench ui --example

clean: ## Remove the virtual environment and caches, not your runs
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache *.egg-info

# torch comes first and pinned: left to the other packages, pip may choose a newer and larger build.
$(VENV)/torch: constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	touch $@

$(VENV)/installed: $(VENV)/torch pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@
