# `make demo` and `make test` need Python 3.11+ and nothing else: each makes the environment that it runs in.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test pytest test-extras docs lint format lock clean

demo: $(VENV)/run.done
	@echo 'The first time this takes about nine minutes on two cores: 3,360 clips are drawn and spoken (1 minute), their' \
	  'faces are found and the dataset is written (1.2), stage 2 learns the emotions from hand-made descriptors (1.3: the first' \
	  'scores of emotions, after 3 minutes), stage 1 aligns face and voice with the words (3.3), and stage 2 learns the emotions' \
	  'from its encoders (2.2).'
	$(BIN)/python run.py --config=configs/stage2.py:demo_descriptors
	$(BIN)/python run.py --config=configs/stage1.py
	$(BIN)/python run.py --config=configs/stage2.py

# Lint runs while the tests do: its type checker needs one core for most of a minute.
test: $(VENV)/dev.done
	@$(MAKE) --no-print-directory --jobs=2 --keep-going lint pytest || { \
	  echo 'make test failed: the errors of lint or of the tests are above' >&2; exit 1; }

pytest: $(VENV)/dev.done
	$(BIN)/python -m pytest

# Apache Beam, speech recognition, W&B and MLflow, and the site: optional packages in environments of their own. Where
# they cannot be installed, that is reported and their tests are left out.
test-extras: $(VENV)/dev.done
	@if $(MAKE) --no-print-directory $(VENV)-beam/run.done; then \
	  $(VENV)-beam/bin/python -m pytest -o addopts= --confcutdir=tests/data_prep tests/data_prep/test_beam.py; \
	else echo 'not tested: requirements-beam.txt cannot be installed here'; fi
	@if $(MAKE) --no-print-directory $(VENV)-asr/run.done; then \
	  $(VENV)-asr/bin/python -m pytest -o addopts= tests/data_prep/clips/test_speech.py; \
	else echo 'not tested: requirements-asr.txt cannot be installed here'; fi
	@if $(MAKE) --no-print-directory $(VENV)-loggers/run.done; then \
	  $(VENV)-loggers/bin/python -m pytest -o addopts= tests/loggers; \
	else echo 'not tested: requirements-loggers.txt cannot be installed here'; fi
	@if $(MAKE) --no-print-directory $(VENV)-docs/run.done; then \
	  $(VENV)-docs/bin/python -m pytest -o addopts= tests/docs/test_site.py; \
	else echo 'not tested: requirements-docs.txt cannot be installed here'; fi

docs: $(VENV)-docs/run.done
	NO_MKDOCS_2_WARNING=1 $(VENV)-docs/bin/python -m mkdocs build
	@echo 'To read it: $(PYTHON) -m http.server --directory build/site'

lint: $(VENV)/dev.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy emi_jax data_prep configs run.py

format: $(VENV)/dev.done
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Renews the lock files, for Python 3.11 and newer, after a change of the requirements. Needs uv (pip install uv).
lock:
	$(LOCK) requirements.txt --output-file requirements.lock
	$(LOCK) requirements-dev.txt --constraint requirements.lock --output-file requirements-dev.lock

LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate

clean:
	rm -rf data/demo runs/demo runs/demo_descriptors

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  found=$$($(PYTHON) --version 2>/dev/null); \
	  echo "Python 3.11 or newer is needed, and $(PYTHON) is $${found:-not found}: name another, as in" \
	    "make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.done: requirements.lock | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	touch $@

# PyTorch is not locked: which of its builds fits depends on the machine.
$(VENV)/dev.done: requirements-dev.lock requirements-bench.txt $(VENV)/run.done
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	touch $@

$(VENV)-beam/run.done: requirements-beam.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)-beam
	$(VENV)-beam/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-beam.txt \
	  $$(grep -E '^pytest(-timeout)?==' requirements-dev.txt)
	touch $@

# They add to the packages of the main environment, which they find by a .pth file.
$(VENV)-asr/run.done $(VENV)-loggers/run.done $(VENV)-docs/run.done: $(VENV)-%/run.done: requirements-%.txt $(VENV)/dev.done
	$(PYTHON) -m venv $(VENV)-$*
	cd $(VENV)-$*/lib/python*/site-packages && \
	  $(abspath $(BIN))/python -c 'import site; print(site.getsitepackages()[0])' > project.pth
	$(VENV)-$*/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-$*.txt
	touch $@
