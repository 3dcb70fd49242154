# Two commands set everything up: `make run` and `make test`. Both need Python 3.11+, pip and make, and nothing else.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: run test test-system check lock clean

# requirements.lock holds the versions that were tested; pip takes them as constraints for the extras named here.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable

$(BIN)/mlforhpc: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) '.[md]'
	touch $@

$(BIN)/pytest: $(BIN)/mlforhpc
	$(INSTALL) '.[md,parquet,torch,onnx,openvino,loadgen,sklearn,dask,ray,parsl,mpi,dev]'
	touch $@

run: $(BIN)/mlforhpc
	$(BIN)/mlforhpc run

test: $(BIN)/pytest check
	$(BIN)/python -m pytest -m "not system"

FROM_DEBIAN := chromium gcc libc6-dev strace wrk r-base-core r-cran-randomforest munge slurm-client slurmctld slurmd

# Debian, root: what comes only from the distribution, and the tests that need it; there a skip is a failure.
test-system: $(BIN)/pytest
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(FROM_DEBIAN) > /dev/null
	$(BIN)/python -m pytest -m system --no-skips

check: $(BIN)/pytest
	$(BIN)/ruff check src tests bench
	$(BIN)/ruff format --check --quiet src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports

# Pin what is installed now, after new versions were tried by hand.
lock: $(BIN)/pytest
	$(BIN)/python -m pip freeze --exclude-editable --disable-pip-version-check > requirements.lock

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
