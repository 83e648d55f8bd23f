# make course: run the whole course.   make test: check it.   Both make .venv by themselves when needed.
PYTHON = .venv/bin/python

.PHONY: course test notebooks bench
course: .venv/ready
	$(PYTHON) -m helpers.course run $(if $(DATA_DIR),--data-dir "$(DATA_DIR)") $(if $(OUT_DIR),--out-dir "$(OUT_DIR)") $(ARGS)

test: .venv/ready
	$(PYTHON) -m pytest $(ARGS)

notebooks: .venv/ready
	$(PYTHON) -m helpers.build

bench: .venv/ready
	$(PYTHON) tests/bench_audit.py
	$(PYTHON) tests/bench_duplicates.py $(or $(DATA_DIR),sample)
	$(if $(DATA_DIR),ISIC9_DIR="$(DATA_DIR)") $(PYTHON) -c "from tests import bench_augment; bench_augment.main()"
	$(PYTHON) tests/bench_training.py $(or $(DATA_DIR),sample)

.venv/ready: requirements.txt
	@for python in python3.13 python3.12 python3.11 python3.10 python3 python; do \
	  if $$python -c 'import sys, ensurepip; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null; then \
	    echo "Installing the course's packages into .venv with $$($$python --version) (once)"; \
	    $$python -m venv .venv && $(PYTHON) -m pip install -q --disable-pip-version-check -r requirements.txt && \
	    touch .venv/ready && exit 0 || exit 1; \
	  fi; \
	done; echo "No Python 3.10 to 3.13 with venv was found: install one (on Debian: apt install python3-venv)." >&2; exit 1
