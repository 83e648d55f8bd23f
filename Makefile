# make course: run the whole course.   make test: check it.   Both make .venv by themselves when needed.
PYTHON = .venv/bin/python

.PHONY: help course lab test test-newest lint notebooks site slides bench
help:
	@echo "make course     run the whole course [DATA_DIR=images] [OUT_DIR=runs/mine] [ARGS='-p EPOCHS 5']"
	@echo "make lab        open the notebooks in JupyterLab"
	@echo "make test       check everything [ARGS='-k words']"
	@echo "make test-newest  the same with the newest releases of all packages, in .venv-newest"
	@echo "make lint       style, imports and requirements alone"
	@echo "make notebooks  build and execute the notebooks from notebooks/src [ARGS='01_eda']"
	@echo "make site       write notebooks and docs as a website into _site/, as they are stored"
	@echo "make slides     write a deck of slides for each notebook into _slides/"
	@echo "make bench      measure speed and memory [DATA_DIR=images]"

course: .venv/ready
	$(PYTHON) -m helpers run $(if $(DATA_DIR),--data-dir "$(DATA_DIR)") $(if $(OUT_DIR),--out-dir "$(OUT_DIR)") $(ARGS)

lab: .venv/lab
	$(PYTHON) -m jupyterlab notebooks

test: .venv/tested
	$(PYTHON) -m pytest -n 2 --dist worksteal $(ARGS)

test-newest:
	python3 -m venv .venv-newest
	sed -E 's/==[^;]+//' requirements.txt > .venv-newest/requirements.txt
	.venv-newest/bin/python -m pip install -q -U -r .venv-newest/requirements.txt -r tests/requirements.txt
	.venv-newest/bin/python -m pip freeze
	.venv-newest/bin/python -m pytest -n 2 --dist worksteal --ignore tests/test_lint.py $(ARGS)

lint: .venv/tested
	$(PYTHON) -m pytest tests/test_lint.py

notebooks: .venv/ready
	$(PYTHON) -m helpers build $(ARGS)

site: .venv/site
	$(PYTHON) -m sphinx -q -b html -c docs . _site/html && echo "Open _site/html/index.html"

slides: .venv/ready
	$(PYTHON) -m docs.slides

bench: .venv/ready
	$(PYTHON) tests/bench_data.py $(or $(DATA_DIR),sample)
	$(PYTHON) tests/bench_training.py $(or $(DATA_DIR),sample)

.venv/ready: requirements.txt
	@for python in python3.13 python3.12 python3.11 python3.10 python3 python; do \
	  if $$python -c 'import sys, ensurepip; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null; then \
	    echo "Installing the course's packages into .venv with $$($$python --version) (once)"; \
	    $$python -m venv .venv && $(PYTHON) -m pip install -q --disable-pip-version-check -r requirements.txt && \
	    touch .venv/ready && exit 0 || exit 1; \
	  fi; \
	done; echo "No Python 3.10 to 3.13 with venv was found: install one (on Debian: apt install python3-venv)." >&2; exit 1

.venv/tested: .venv/ready tests/requirements.txt
	@$(PYTHON) -m pip install -q --disable-pip-version-check -r tests/requirements.txt && touch .venv/tested

.venv/lab: .venv/ready
	@$(PYTHON) -m pip install -q --disable-pip-version-check jupyterlab && touch .venv/lab

.venv/site: .venv/ready docs/requirements.txt
	@$(PYTHON) -m pip install -q --disable-pip-version-check -r docs/requirements.txt && touch .venv/site
