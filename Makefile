# make demo · make report · make test · make check · make bench · make bench-quality SPEECH=DIR NOISE=DIR [PEERS=DIR] ·
# make fuzz [SECONDS=300] · make soak [HOURS=24] · make wheels
#
# Everything runs in .venv, made here. After the packages are in, nothing needs the network.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
SHARED ?= ../shared
SPEECH ?= $(SHARED)/data/bench/speech
NOISE ?= $(SHARED)/data/bench/noise
PEERS ?= $(wildcard $(SHARED)/peers)
CC_STRICT := -std=c99 -Wall -Wextra -Werror -Wno-format-extra-args -Icsrc/include
SANITIZE := -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -ffp-contract=off
FUZZERS := build/fuzz/fuzz_program build/fuzz/fuzz_process build/fuzz/fuzz_resample
# Without comparisons traced: ten times as many inputs a second, and more reached.
FUZZ := -g -O2 -ffp-contract=off -fsanitize=fuzzer,address,undefined,float-cast-overflow -fno-sanitize-recover=all \
        -fno-sanitize-coverage=trace-cmp
SECONDS := 300
KERNEL := $(wildcard csrc/*.c csrc/*.h csrc/include/*.h csrc/host/*) csrc/binding.py CMakeLists.txt pyproject.toml
# An editable install knows its files by name: another list of files is another install.
LIST := $(shell find src simulation models -type f ! -name '*.pyc' | LC_ALL=C sort | cksum | cut -d' ' -f1)
INSTALLED := .stamps/installed-$(LIST)

.PHONY: demo report test test-c test-python check bench bench-quality fuzz fuzz-corpus soak wheels tools clean

demo: .stamps/eval $(INSTALLED)
	$(PY) -m edgeenhance.simulation.demo -o demo

report: .stamps/eval $(INSTALLED)
	$(VENV)/bin/edgeenhance evaluate example -o report --workers 2

test: test-c test-python

test-python: .stamps/dev $(INSTALLED)
	$(PY) -m pytest -n 2 $(PYTEST)

test-c: | tools
	@mkdir -p build
	$(CC) $(CC_STRICT) $(SANITIZE) csrc/*.c tests/c/test_kernel.c -o build/test_kernel -lm
	./build/test_kernel
	$(CC) $(CC_STRICT) $(SANITIZE) csrc/*.c tests/c/test_net.c -o build/test_net -lm
	./build/test_net
	$(CC) $(CC_STRICT) -O3 -ffp-contract=off csrc/*.c tests/c/bits.c -o build/bits -lm
	$(CC) $(CC_STRICT) -O3 -ffp-contract=off -DEE_VECTOR= csrc/*.c tests/c/bits.c -o build/bits_plain -lm
	[ "$$(./build/bits)" = "$$(./build/bits_plain)" ] # AVX2, where there is, gives the same bits
	$(CC) $(CC_STRICT) $(SANITIZE) csrc/*.c csrc/host/*.c tests/c/test_live.c -o build/test_live -lm -pthread
	./build/test_live
	$(CC) $(CC_STRICT) -O2 csrc/*.c tests/c/test_memory.c -o build/test_memory -lm
	./build/test_memory

check: .stamps/dev $(INSTALLED)
	bash .ci/check

bench: .stamps/eval $(INSTALLED)
	$(PY) -m edgeenhance.simulation.bench $(if $(PEERS),--peers $(PEERS))

bench-quality: .stamps/train $(INSTALLED) # torch: the zoo's models as they were before rounding
	$(PY) -m edgeenhance.simulation.quality --speech $(SPEECH) --noise $(NOISE) $(if $(PEERS),--peers $(PEERS)) $(QUALITY)

fuzz: .stamps/dev $(INSTALLED) $(FUZZERS)
	bash tests/fuzz/run.sh $(SECONDS)

build/fuzz/fuzz_%: tests/fuzz/fuzz_%.c tests/fuzz/fuzz.h $(KERNEL)
	@mkdir -p build/fuzz
	clang $(CC_STRICT) $(FUZZ) csrc/*.c $< -o $@ -lm

# The fewest of the inputs found by `make fuzz` that reach what all of them reach.
fuzz-corpus: $(FUZZERS)
	for name in $(notdir $(FUZZERS:build/fuzz/fuzz_%=%)); do bash tests/fuzz/minimise.sh $$name || exit 1; done

soak: .stamps/dev $(INSTALLED)
	$(PY) tests/check/soak.py $(HOURS)
	$(MAKE) fuzz SECONDS=3600

wheels: .stamps/wheels
	bash .ci/wheels

tools:
	@missing=; \
	command -v $(CC) >/dev/null || missing="$$missing gcc"; \
	command -v g++ >/dev/null || missing="$$missing g++"; \
	$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	$(PYTHON) -c 'import os, sysconfig; open(os.path.join(sysconfig.get_path("include"), "Python.h"))' 2>/dev/null \
	  || missing="$$missing python3-dev"; \
	if [ -n "$$missing" ]; then echo "missing tools; install them with: sudo apt-get install$$missing"; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit("EdgeEnhance needs Python 3.10 or newer, got " + sys.version.split()[0] if sys.version_info < (3, 10) else 0)'

$(VENV)/bin/pip: | tools
	$(PYTHON) -m venv $(VENV)

# The build tools live in the environment too, so that a rebuild works offline.
.stamps/build: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(VENV)/bin/pip install -q -c constraints.txt pip scikit-build-core cffi cmake ninja
	@mkdir -p .stamps && touch $@

$(INSTALLED): .stamps/build $(KERNEL)
	$(VENV)/bin/pip install -q --no-build-isolation --no-deps -e .
	@rm -f .stamps/installed-* && touch $@

.stamps/eval .stamps/train .stamps/wheels .stamps/dev: .stamps/%: .stamps/build | $(INSTALLED)
	$(VENV)/bin/pip install -q -c constraints.txt 'edgeenhance[$*]'
	@touch $@

clean:
	rm -rf build dist .stamps demo report $(VENV)
