# The commands of this book: `make help` lists them.

PYTHON    ?= python3
VENV      ?= .venv
# Of the instructor's commands: where the course lies, and which assignment is meant.
COURSE     ?= course
ASSIGNMENT ?= learning_rates
SANDBOX    ?= bubblewrap
NOTEBOOKS ?= $(sort $(shell find chapters -name '*.ipynb' -not -path '*/.ipynb_checkpoints/*'))

RUN     := $(VENV)/bin/python -m
READY   := $(VENV)/.ready
INTEROP := $(VENV)-interop/.ready
TEACH   := $(VENV)-course/.ready
LITE    := $(VENV)-lite/.ready
MUTMUT  := $(VENV)-mutants/site-packages/.ready

# Stored outputs and re-runs must come from the same surroundings: this tree's library, one
# thread for sums (their order changes the last bits), fixed hashing, width and time zone.
export PYTHONPATH := $(CURDIR)/lib
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export PYTHONHASHSEED := 0
export COLUMNS := 80
export TZ := UTC
export LC_ALL := C.UTF-8
export JUPYTER_PREFER_ENV_PATH := 1
export NOTEBOOKS
unexport MPLBACKEND

.PHONY: help book zip pdf epub lite test check format lint test-library test-notebooks test-sabotage test-site test-course test-interop bench mutants lab notebooks replicate records capstone lock clean
.PHONY: release sample-class collect grade formgrader feedback export slides

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' Makefile

book: $(READY) ## Build the website from the stored outputs
	$(VENV)/bin/jupyter-book build --keep-going --quiet .
	@echo "The book is built. Open $(CURDIR)/_build/html/index.html"

zip: book ## Pack the website for a train without network: _build/trainlab-book.zip
	cd _build && rm -f trainlab-book.zip && $(PYTHON) -m zipfile -c trainlab-book.zip html
	@echo "Unpack $(CURDIR)/_build/trainlab-book.zip and open html/index.html"

pdf: book ## Print the whole book: _build/trainlab-book.pdf (needs Chromium)
	$(VENV)/bin/python book/_ext/take_along.py _build/trainlab-book.pdf

epub: book ## The whole book for an e-reader: _build/trainlab-book.epub
	$(VENV)/bin/python book/_ext/take_along.py _build/trainlab-book.epub

lite: book $(LITE) ## Let the website's chapters run in a browser (LITE_PACKAGES=a folder of Pyodide's wheels: with nothing from outside)
	$(VENV)/bin/python book/_ext/lite.py $(VENV)-lite
	@echo "Browsers open it from a server only: $(PYTHON) -m http.server --directory _build/html"

test: lint test-library test-notebooks test-sabotage test-site test-course ## Run every check
	@echo "All checks passed."

check: lint test-library ## The minutes before a commit: form, types, the library's tests, and the chapters that changed
	@changed=$$(git diff --name-only --diff-filter=d HEAD -- 'chapters/*.ipynb'); \
	test -z "$$changed" || $(MAKE) test-notebooks NOTEBOOKS="$$changed"

lint: $(READY) ## Check the form of all code, notebooks too
	$(RUN) ruff format --check --quiet . || { echo "Some files are not formatted: make format"; exit 1; }
	$(RUN) ruff check --quiet .

format: $(READY) ## Format all code, and mend what can be mended by itself
	$(RUN) ruff check --fix --quiet .
	$(RUN) ruff format --quiet .

test-library: $(READY) ## Check the library's types, test it and the examples in its docstrings
	$(RUN) mypy
	$(RUN) pytest -n 2 tests/library tests/mutants.py README.md --doctest-glob='*.md' --doctest-modules lib

# nbval does not look at a cell without a number, so the stored files are checked first.
test-notebooks: $(READY) ## Execute the notebooks and compare with the stored outputs
	$(RUN) pytest tests/notebooks/test_stored.py
	PYTHONPATH="$$PYTHONPATH:$(CURDIR)/tests/notebooks" $(RUN) pytest -p kernels --nbval --nbval-current-env --nbval-cell-timeout=120 \
	    --nbval-sanitize-with tests/notebooks/sanitize.cfg \
	    $(if $(word 2,$(NOTEBOOKS)),-n 2 --dist loadfile) $(NOTEBOOKS) \
	|| { status=$$?; test $$status != 1 || { \
	     echo "In the differences above, + is what the notebook stores and - is what it printed now."; \
	     echo "If the new output is right, store it and read the change:"; \
	     echo "    make notebooks NOTEBOOKS=<the notebook> && git diff"; }; exit $$status; }

test-sabotage: $(READY) ## Check that the checks fail when they should, and that a learner may change numbers
	$(RUN) pytest tests/notebooks --ignore tests/notebooks/test_stored.py -n 2 --dist worksteal

test-site: $(READY) ## Build the website from nothing, warnings as errors, and check its pages
	rm -rf _build/html _build/.doctrees
	$(VENV)/bin/jupyter-book build -W -n --keep-going --quiet .
	! command -v npm > /dev/null || { $(MAKE) $(LITE) && $(VENV)/bin/python book/_ext/lite.py $(VENV)-lite; }
	$(RUN) pytest tests/site -n 2

test-course: $(READY) $(TEACH) ## Try all answers to the assignments, and grade hostile submissions (needs bubblewrap)
	COURSE_PYTHON="$(VENV)-course/bin/python" $(RUN) pytest tests/course -n 2 --dist loadfile

# The instructor's commands, in the order of a term. The book's page "Teaching with this book" explains them.
TEACHING = BOOK_PYTHON="$(VENV)/bin/python" $(VENV)-course/bin/python assignments/course/commands.py

release: $(READY) $(TEACH) ## Make the students' copy of an assignment (ASSIGNMENT=... EACH=1 for numbers of their own)
	$(TEACHING) release $(ASSIGNMENT) --course "$(COURSE)" $(if $(EACH),--each)

sample-class: $(READY) $(TEACH) ## Let a made-up class hand in an assignment, to try the commands on
	$(TEACHING) sample $(ASSIGNMENT) --course "$(COURSE)"

collect: $(READY) $(TEACH) ## Take in what was handed in (FROM=the archive of Canvas or Moodle, or a folder)
	$(TEACHING) collect $(ASSIGNMENT) --course "$(COURSE)" --from "$(FROM)"

grade: $(READY) $(TEACH) ## Grade what is new, each copy in a sandbox; interrupted, it goes on where it was
	$(TEACHING) grade $(ASSIGNMENT) --course "$(COURSE)" --sandbox "$(SANDBOX)" $(if $(JOBS),--jobs $(JOBS))

formgrader: $(READY) $(TEACH) ## Mark the written answers in the browser, with nbgrader's formgrader
	$(TEACHING) formgrader --course "$(COURSE)"

feedback: $(READY) $(TEACH) ## Make a page for each student, which shows no hidden check
	$(TEACHING) feedback $(ASSIGNMENT) --course "$(COURSE)"

export: $(READY) $(TEACH) ## Write the marks for a spreadsheet, Canvas and Moodle, and the assignments for Otter and Gradescope
	$(TEACHING) export --course "$(COURSE)"

slides: $(READY) ## Make the slides of two lectures, from the figures that the chapters store
	$(VENV)/bin/python assignments/course/slides.py

# The three below are not part of `make test`: two of them install PyTorch, JAX and Keras, one takes long.
test-interop: $(INTEROP) ## Test the schedules inside PyTorch, Optax and Keras
	$(VENV)-interop/bin/python -m pytest tests/interop

bench: $(INTEROP) ## Time the library against PyTorch, scikit-learn and Optax
	$(VENV)-interop/bin/python benchmarks/bench.py

# What it finds out stays in _build/mutants, whatever becomes of the tests: delete that folder to start anew.
mutants: $(MUTMUT) ## Plant faults in the library, list those that no test finds (MUTANTS='trainlab.files*' for some)
	PYTHONPATH=$(dir $(MUTMUT)) $(VENV)/bin/python tests/mutants.py $(foreach pattern,$(MUTANTS),'$(pattern)')

lab: $(READY) ## Open copies of the chapters in JupyterLab; what you change in them stays (LAB=... for its options)
	$(VENV)/bin/python book/_ext/lab.py _build/lab
	TRAINLAB_PROGRESS=1 $(RUN) jupyterlab $(LAB) _build/lab/start.ipynb

notebooks: $(READY) ## Execute the notebooks and store their outputs (NOTEBOOKS=... for some)
	$(VENV)/bin/python tests/notebooks/store.py $(NOTEBOOKS)

replicate: $(READY) ## Run the chapters several times more, with everything drawn anew, and keep which sentences held (NOTEBOOKS=... for some; LONG=3: those that read a record three times)
	$(VENV)/bin/python tests/notebooks/replicate.py $(if $(LONG),--long $(LONG)) $(NOTEBOOKS)

records: $(READY) ## Train what the chapters' records lack; all of them from nothing is an hour or two (NOTEBOOKS=... for some)
	PYTHONPATH="$$PYTHONPATH:$(CURDIR)/tests/notebooks" $(VENV)/bin/python tests/notebooks/records.py $(NOTEBOOKS)
	$(VENV)/bin/python book/_ext/play_runs.py

# Interrupted, it goes on where it was. `git checkout chapters/records` brings the book's own runs back.
capstone: $(READY) ## Train the language model of the last chapter anew: half an hour of processor time
	rm -f chapters/records/capstone.jsonl chapters/records/capstone.npz
	$(MAKE) records NOTEBOOKS=chapters/07_language_model/capstone.ipynb

lock: $(READY) ## Write requirements.txt anew from the groups in pyproject.toml
	$(RUN) uv --quiet pip compile pyproject.toml --group book --group test --group lab --universal --python-version 3.11 \
	    --annotation-style line --custom-compile-command "make lock" --output-file requirements.txt
	$(RUN) uv --quiet pip compile pyproject.toml --group course -c requirements.txt --universal --python-version 3.11 \
	    --annotation-style line --custom-compile-command "make lock" --output-file requirements-course.txt
	$(RUN) uv --quiet pip compile --group pyproject.toml:lite -c requirements.txt --universal --python-version 3.11 \
	    --annotation-style line --custom-compile-command "make lock" --output-file requirements-lite.txt

clean: ## Delete what was built, the environment excepted
	rm -rf _build .pytest_cache .hypothesis .mypy_cache
	find chapters lib tests book benchmarks assignments -name __pycache__ -prune -exec rm -rf {} +

# The stamp is written last, so an interrupted installation starts again from nothing.
$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("This book needs Python 3.11 or newer; $(PYTHON) is %d.%d. Name another one: make PYTHON=/path/to/python3" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	test -e $@ || rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(RUN) pip install --disable-pip-version-check -r requirements.txt -e .
	touch $@

$(INTEROP): requirements-interop.txt
	test -e $@ || rm -rf $(VENV)-interop
	$(PYTHON) -m venv $(VENV)-interop
	$(VENV)-interop/bin/pip install --disable-pip-version-check -r $<
	touch $@

$(TEACH): requirements-course.txt
	test -e $@ || rm -rf $(VENV)-course
	$(PYTHON) -m venv $(VENV)-course
	$(VENV)-course/bin/pip install --disable-pip-version-check -r $<
	touch $@

# JupyterLite takes every extension of its environment into the site, so it has one of its own. npm has Pyodide's core.
$(LITE): requirements-lite.txt
	@command -v npm > /dev/null || { echo "Chapters that run in a browser need Pyodide's core, which npm fetches: install npm"; exit 1; }
	test -e $@ || rm -rf $(VENV)-lite
	$(PYTHON) -m venv $(VENV)-lite
	$(VENV)-lite/bin/pip install --disable-pip-version-check -r $<
	$(VENV)-lite/bin/pip download --disable-pip-version-check --no-deps -c $< -d $(VENV)-lite comm
	cd $(VENV)-lite && npm pack --silent pyodide@314.0.4
	touch $@

# Beside the environment of the book, which it completes, in the versions that are pinned. The name site-packages
# tells fingerprints that mutmut's own code, which is in every function then, is not to be read.
$(MUTMUT): $(READY)
	rm -rf $(VENV)-mutants
	$(RUN) pip install --disable-pip-version-check --target $(@D) -c requirements.txt mutmut==3.8.1
	touch $@
