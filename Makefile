# Everything a person or CI does here. A target sets up what it needs and no more; what is set up is not set up again.

PYTHON ?= python3
ARGS ?=
# How many tests run side by side; 0 for one after the other, in one process.
WORKERS ?= auto

TOOLS := .tools
UV := $(TOOLS)/uv/bin/uv
BIN := .venv/bin
# Stamps: the moment each part was set up, newer than everything it was set up from.
PYTHON_READY := .venv/.ready
# The same with the clients of OpenAI's API that tests drive, and those that need other versions of what it has.
CLIENTS_READY := .venv/.clients.ready $(TOOLS)/clients/.ready
NODE_READY := $(TOOLS)/node.ready
# What `make bench` compares with, each in a virtual environment of its own, and what loads gRPC servers.
PEERS_READY := $(TOOLS)/litellm/.ready $(TOOLS)/lookup/.ready
CALLS := $(TOOLS)/calls/calls
# NVIDIA's Triton and what its models import, in a virtual environment of their own, because it needs numpy 1.
TRITON_READY := $(TOOLS)/triton/.ready
GO_TOOLS := $(addprefix $(TOOLS)/bin/,protoc-gen-go protoc-gen-go-grpc grpcurl)
# Tools run for moments: not optimising them saves a third of a cold build, and one set of flags compiles gRPC once.
GO_FLAGS := -trimpath -gcflags=all='-N -l'

export PATH := $(CURDIR)/$(TOOLS)/bin:$(CURDIR)/$(TOOLS)/node_modules/.bin:$(CURDIR)/$(BIN):$(PATH)
export BUF_CACHE_DIR := $(CURDIR)/$(TOOLS)/cache/buf

.DEFAULT_GOAL := help
.PHONY: help setup triton run demo test test-clients prove check check-style check-types check-imports check-contracts check-generated check-tree \
        check-dependencies format gen vendor proto-baseline bench bench-gpu clean

help: ## What there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(PYTHON_READY) $(NODE_READY) $(GO_TOOLS) ## Install everything: .venv/ and .tools/

triton: $(TRITON_READY) ## Install NVIDIA's Triton for `soma up --triton`, 120 MB to download: .tools/triton/

run: $(PYTHON_READY) ## Start the whole stack, hold a short conversation through its port, serve until Ctrl-C
	$(BIN)/soma demo --stay $(ARGS)

demo: $(PYTHON_READY) ## The same conversation, then a clean stop
	$(BIN)/soma demo $(ARGS)

test: $(PYTHON_READY) $(TRITON_READY) ## All tests but the clients', against real servers started for the run (ARGS='tests/mesh -k lease' for some)
	$(BIN)/pytest -n $(WORKERS) --ignore=tests/clients $(ARGS)

test-clients: $(CLIENTS_READY) ## Clients in other languages and a browser, built and run against a stack (docs/clients.md)
	@command -v chromium > /dev/null || tools/install_chromium
	$(BIN)/pytest tests/clients $(ARGS)

prove: $(PYTHON_READY) ## Long checks at full size, which takes up to an hour (ARGS='tests/e2e/test_openapi.py' for some)
	$(BIN)/pytest -n $(WORKERS) --ignore=tests/clients -m long --full $(ARGS)

check: check-style check-types check-imports check-contracts check-generated check-tree check-dependencies ## Format, lint, types, contracts, imports, generated code, licences

check-style: $(PYTHON_READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

check-types: $(PYTHON_READY)
	$(BIN)/mypy
	$(if $(wildcard examples/*.py),$(BIN)/mypy examples)

check-imports: $(PYTHON_READY)
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m tools.aborts
	$(BIN)/python -m tools.raised_reasons

check-contracts: $(PYTHON_READY) $(NODE_READY)
	buf lint
	buf format --diff --exit-code proto
	buf build -o $(TOOLS)/contracts.binpb
	buf breaking $(TOOLS)/contracts.binpb --against proto/baseline.binpb --exclude-imports
	$(BIN)/python -m tools.contracts $(TOOLS)/contracts.binpb

check-generated: $(PYTHON_READY) $(NODE_READY) $(GO_TOOLS)
	$(BIN)/python -m tools.generate --check
	tsc -p tools
	cd gen/go && go vet $(GO_FLAGS) ./...

check-tree: $(PYTHON_READY)
	$(BIN)/python -m tools.tree
	$(BIN)/python -m tools.subjects
	$(BIN)/python -m tools.vendored

check-dependencies: $(PYTHON_READY)
	$(BIN)/python -m tools.dependencies
	$(BIN)/python -m tools.licences

format: $(PYTHON_READY) $(NODE_READY) ## Format Python and contracts
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only .
	buf format -w proto

gen: $(PYTHON_READY) $(NODE_READY) $(GO_TOOLS) ## Generate gen/, docs/errors.md and the Python client's methods
	$(BIN)/python -m tools.generate

vendor: $(PYTHON_READY) ## Fetch anew what /docs and /redoc load, as third_party/site.toml pins it
	$(BIN)/python -m tools.vendored --fetch

proto-baseline: $(NODE_READY) ## Move the baseline of breaking-change checks; wants a line in CHANGELOG.md
	@! git diff --quiet HEAD -- CHANGELOG.md || { echo "Say in CHANGELOG.md what changes in the contracts, then move the baseline."; exit 1; }
	buf build --exclude-source-info -o proto/baseline.binpb

bench: $(PYTHON_READY) $(PEERS_READY) $(CALLS) $(TRITON_READY) ## Measure against peers and limits (ARGS='chat deltas' for some figures)
	@command -v wrk >/dev/null \
		|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get install -y wrk; } \
		|| { echo "wrk is missing, which makes the load: apt-get install wrk, or brew install wrk"; exit 1; }
	$(BIN)/python -m bench $(ARGS)

bench-gpu: ## Measure Triton's Python backend beside plain PyTorch, on a machine with PyTorch, without a network (ARGS='--shape tiny')
	$(PYTHON) -m bench.gpu $(ARGS)

clean: ## Remove what make made, and the development stack's data
	rm -rf .venv $(TOOLS) .somamesh examples/*/target examples/*/node_modules examples/*/dist examples/*/.venv examples/*/contracts .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(UV): tools/uv.txt
	$(PYTHON) -m venv $(TOOLS)/uv
	$(TOOLS)/uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tools/uv.txt
	touch $@

$(PYTHON_READY): $(UV) uv.lock pyproject.toml gen/python/pyproject.toml sdk/python/pyproject.toml
	# Compiled here, because where Python may not write bytecode every process of a stack would compile it again.
	$(UV) sync --frozen --quiet --compile-bytecode
	$(BIN)/python -m compileall -q services gateway cli gen/python/soma gen/python/buf
	touch $@

$(PEERS_READY): $(TOOLS)/%/.ready: bench/%.txt | $(PYTHON_READY)
	$(UV) venv --quiet --clear --python $(BIN)/python $(@D)
	# Compiled here: a peer that may not write bytecode would compile what it imports again and again.
	$(UV) pip install --quiet --compile-bytecode --require-hashes --python $(@D)/bin/python -r $<
	touch $@

$(TRITON_READY): triton_models/requirements.txt | $(PYTHON_READY)
	$(UV) venv --quiet --clear --python $(BIN)/python $(@D)
	# Without the dependencies of the wheel's own Python API, which nothing here uses.
	$(UV) pip install --quiet --compile-bytecode --no-deps --require-hashes --python $(@D)/bin/python -r $<
	touch $@

$(CALLS): bench/calls/main.go bench/calls/go.mod bench/calls/go.sum $(wildcard gen/go/soma/testing/v1/*.go)
	cd bench/calls && go build -trimpath -o ../../$@ .

.venv/.clients.ready: $(PYTHON_READY)
	$(UV) sync --frozen --quiet --group clients
	touch $@

$(TOOLS)/clients/.ready: tests/clients/python/requirements.txt | $(PYTHON_READY)
	$(UV) venv --quiet --clear --python $(BIN)/python $(@D)
	$(UV) pip install --quiet --compile-bytecode --require-hashes --python $(@D)/bin/python -r $<
	touch $@

$(NODE_READY): tools/package.json tools/package-lock.json
	@mkdir -p $(TOOLS)
	cp tools/package.json tools/package-lock.json $(TOOLS)
	# `install`, not `ci`: a lock written where only some platforms' binaries are mirrored is refused by `ci` elsewhere.
	npm install --prefix $(TOOLS) --ignore-scripts --no-audit --no-fund --loglevel error
	touch $@

$(GO_TOOLS) &: tools/go.mod tools/go.sum
	@mkdir -p $(TOOLS)/bin
	cd tools && go build $(GO_FLAGS) -o ../$(TOOLS)/bin/ google.golang.org/protobuf/cmd/protoc-gen-go \
		google.golang.org/grpc/cmd/protoc-gen-go-grpc github.com/fullstorydev/grpcurl/cmd/grpcurl
	touch $(GO_TOOLS)
