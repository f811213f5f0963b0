# `make run` and `make test` are all that a newcomer needs.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# What the program needs beside Rust: a C compiler for SQLite and the cryptography.
.PHONY: help
help:
	@echo "make run         build, start the service with a demonstration bank, print what to try"
	@echo "make test        everything that must hold"
	@echo "make check       formatting, lints, the pack, licences"
	@echo "make base-model  fetch and verify the base encoder (models/base)"
	@echo "make model       train a bundle, all stages (PROKURA_DATA names the public data; hours, see docs/models.md)"
	@echo "make model-quick train from the shipped bundle, on your own lines too (under an hour on two cores)"
	@echo "make evaluate    measure the shipped bundle (PROKURA_DATA)"
	@echo "make torture          what make test samples of faults, kills and forgeries, in full: hours (docs/torture.md)"
	@echo "make adversary        12,000 cases with hostile models, messages and documents (docs/adversary.md)"
	@echo "make test-arm         the tests of the ARM kernel under emulation"
	@echo "make bench-lookup     the look-up on public records and on a million generated ones (bench/results)"
	@echo "make bench-ledger     cases a second beside raw inserts, and one more event as the log grows (bench/results)"
	@echo "make bench-tools      what a system that never answers gets to see of 200 calls a second (bench/results)"
	@echo "make bench-overhead   what the engine adds to a case with three calls (bench/results)"
	@echo "make bench-inference  our encoder beside ONNX Runtime, PyTorch and candle (bench/results)"
	@echo "make bench-retrieval  whether searches find, and what they and an index cost (bench/results)"
	@echo "make bench            all of these but the last, one after the other: hours"
	@echo "make bench-gpu        our encoder on a GPU beside PyTorch, and its readings beside the CPU's (bench/results)"

.PHONY: run
run: tools
	cargo build --release --locked
	exec ./target/release/prokura demo

# cargo-nextest runs the tests faster where it is installed; cargo's own runner runs the same ones.
.PHONY: test
test: tools postgresql strace solver node
	@if command -v cargo-nextest >/dev/null; then \
	  cargo nextest run --locked --no-fail-fast; \
	else \
	  cargo test --locked --no-fail-fast; \
	fi

# In full what make test does samples of. The program is a release one without its symbols: each start
# digests the program, and some rows start it thousands of times.
.PHONY: torture
torture: tools postgresql strace
	cargo build --release --locked
	strip -o target/torture-prokura target/release/prokura
	@for row in torture::points torture::power torture::kills torture::stopped torture::restarts torture::flips \
	    flow::simulated flow::sagas flow::waits flow::erase; do \
	  PROKURA_TORTURE=all PROKURA_BIN=$(CURDIR)/target/torture-prokura \
	    cargo test --locked --test integration $$row -- --nocapture || exit 1; \
	done

# In full what make test does a sample of: minutes. The report becomes bench/results/adversary.json.
.PHONY: adversary
adversary: tools
	rm -f target/adversary.json
	PROKURA_ADVERSARY=12000 cargo test --locked --test integration adversary:: -- --nocapture --test-threads=1
	cp target/adversary.json bench/results/adversary.json

# The kernel of ARM on any machine, under emulation. Needs `rustup target add aarch64-unknown-linux-gnu` and, from
# Debian, qemu-user, gcc-aarch64-linux-gnu and libc6-dev-arm64-cross.
.PHONY: test-arm
test-arm:
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu" \
	  cargo test --locked --target aarch64-unknown-linux-gnu --lib encoder::int8

.PHONY: check
check: tools
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo run --locked --quiet -- check
	@if command -v cargo-deny >/dev/null; then \
	  cargo deny check licenses bans sources; \
	  cargo deny check advisories || echo "advisories were not checked, or one applies: see above"; \
	else \
	  echo "licences were not checked: cargo install cargo-deny"; \
	fi

.PHONY: tools
tools:
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.95 or newer from https://rustup.rs"; exit 1; }
	@command -v cc >/dev/null || { echo "a C compiler is missing: apt-get install build-essential"; exit 1; }

# Tests start a PostgreSQL server of their own; only its programs are needed.
.PHONY: postgresql
postgresql:
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || \
	  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy postgresql postgresql-client; } || \
	  { echo "PostgreSQL is missing: apt-get install postgresql"; exit 1; }

# Tests follow single system calls, and let them fail.
.PHONY: strace
strace:
	@command -v strace >/dev/null || \
	  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy strace; } || \
	  { echo "strace is missing: apt-get install strace"; exit 1; }

# Rules are proven by a program of its own.
.PHONY: solver
solver:
	@command -v cvc5 >/dev/null || \
	  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy cvc5; } || \
	  { echo "cvc5 is missing: apt-get install cvc5"; exit 1; }

# Scripts of the console run in it.
.PHONY: node
node:
	@command -v node >/dev/null || \
	  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy nodejs; } || \
	  { echo "node is missing: apt-get install nodejs"; exit 1; }

.PHONY: base-model
base-model: models/base/model.safetensors

models/base/model.safetensors:
	scripts/base-model.sh models/base

# glibc gives large blocks back to the system after every step otherwise, and page faults halve the speed.
TRAINING = RAYON_NUM_THREADS=1 MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=4294967296 MALLOC_TOP_PAD_=268435456

# Sums differ in their last bits with the number of threads: the shipped bundle is made with two.
THREADS ?= 2

.PHONY: model
model: tools models/base/model.safetensors
	cargo build --release --locked
	$(TRAINING) ./target/release/prokura train --work "$${PROKURA_WORK:-/tmp/prokura-train}" --threads $(THREADS) --out models/default
	./target/release/prokura calibrate --bundle models/default --out models/default --mix models/data/mix.json
	./target/release/prokura evaluate --bundle models/default --evidence models/default/evidence.json

# From the shipped trunk: what a bank does with its own tickets.
.PHONY: model-quick
model-quick: tools models/base/model.safetensors
	cargo build --release --locked
	$(TRAINING) ./target/release/prokura train --work "$${PROKURA_WORK:-/tmp/prokura-train}" \
	  --threads $(THREADS) --start models/default --teachers 0 --steps 2000 --out "$${PROKURA_OUT:-/tmp/prokura-bundle}"

.PHONY: evaluate
evaluate: tools
	cargo build --release --locked
	./target/release/prokura evaluate

# Peers come into a throw-away environment. It needs a network and Python; a peer that cannot be had is skipped.
BENCH ?= /tmp/prokura-bench
ROUNDS ?= 5

.PHONY: bench-python
bench-python:
	test -e $(BENCH)/python/.complete || { python3 -m venv $(BENCH)/python && \
	  $(BENCH)/python/bin/pip install --quiet numpy tokenizers matplotlib && touch $(BENCH)/python/.complete; }

.PHONY: bench-peers
bench-peers: bench-python
	$(BENCH)/python/bin/pip install --quiet onnx onnxruntime torch transformers safetensors || true

# The path of the program that `cargo bench $(1)` runs.
INFERENCE = "$$(cargo bench --locked --no-run --bench inference $(1) --message-format json | \
	    sed -n 's/.*"executable":"\([^"]*inference-[^"]*\)".*/\1/p' | tail -1)"

.PHONY: bench-inference
bench-inference: tools models/base/model.safetensors bench-peers
	cargo bench --locked --no-run --bench inference
	cargo build --release --manifest-path bench/inference/stock/Cargo.toml --target-dir $(BENCH)/stock || true
	$(BENCH)/python/bin/python bench/inference/run.py --rounds $(ROUNDS) --work $(BENCH)/work --out bench/results/inference \
	  --stock $(BENCH)/stock/release/stock --ours $(call INFERENCE)

# Needs CUDA 12 or later and a GPU; CUDA_COMPUTE_CAP=90 where the compiler cannot ask the GPU.
# DEVICE=bf16 FEATURES= tries it on a CPU.
DEVICE ?= cuda:0
FEATURES ?= --features cuda

.PHONY: bench-gpu
bench-gpu: tools models/base/model.safetensors bench-peers
	cargo bench --locked --no-run --bench inference $(FEATURES)
	$(BENCH)/python/bin/python bench/inference/gpu.py --rounds $(ROUNDS) --work $(BENCH)/work --device $(DEVICE) \
	  --out $(if $(filter cuda%,$(DEVICE)),bench/results,$(BENCH))/gpu --ours $(call INFERENCE,$(FEATURES))

# EVI and FEBRL need PROKURA_DATA; the million records are generated.
.PHONY: bench-lookup
bench-lookup: tools
	cargo build --release --locked
	test -e $(BENCH)/lookup-python || python3 -m venv $(BENCH)/lookup-python
	$(BENCH)/lookup-python/bin/pip install --quiet splink recordlinkage rapidfuzz || true
	python3 bench/lookup.py --work $(BENCH)/lookup --peers $(BENCH)/lookup-python/bin/python --out bench/results/lookup.json

# On the disk of LEDGER, which needs 10 GiB.
LEDGER ?= $(BENCH)/ledger

.PHONY: bench-ledger
bench-ledger: tools
	cargo bench --locked --no-run --bench ledger
	python3 bench/ledger.py --work $(LEDGER) --out bench/results/ledger.json

# Counts, not times: the test that also runs with the others, for longer.
# Beside the same calls of a bare client, in the same run.
.PHONY: bench-overhead
bench-overhead: tools
	PROKURA_OVERHEAD=400 cargo test --locked --test integration flow::overhead -- --nocapture
	cp target/overhead.json bench/results/overhead.json

.PHONY: bench-tools
bench-tools: tools
	PROKURA_OUTAGE_SECONDS=30 PROKURA_FIGURES=$(CURDIR)/bench/results/tools.json \
	  cargo test --locked --lib acting::perform::outage::a_hung_system -- --nocapture

RETRIEVAL ?= $(BENCH)/retrieval

.PHONY: bench-retrieval
bench-retrieval: tools bench-python
	cargo build --release --locked
	cargo bench --locked --no-run --bench retrieval
	$(BENCH)/python/bin/python bench/retrieval.py --data $(PROKURA_DATA) --work $(RETRIEVAL) \
	  --program target/release/prokura --out bench/results/retrieval

.PHONY: bench
bench: bench-lookup bench-ledger bench-tools bench-inference bench-retrieval
