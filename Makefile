# `make` lists the targets. Needs Python 3.11 or later, make and git; everything else is installed into .venv* folders.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DIST ?= dist
PIP := -m pip --disable-pip-version-check --quiet
LOCKED := install --require-hashes --only-binary :all:
OURSELVES := install --no-deps --no-build-isolation
EXTRAS := vault aws aws-login gcp azure keyring
ENVIRONMENTS := $(VENV)/done .venv-core/done .venv-ministack/done .venv-oldest/done .venv-docs/done $(EXTRAS:%=.venv-%/done)

export PYTHONSAFEPATH := 1
# Without bytecode, each process of the tests would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-long lint format bench dist release-rehearsal rotation-function lock docs picture tables reference completion \
        api examples clean

help:
	@echo 'make demo       pass a token from an encrypted file to a command'
	@echo 'make test       run all tests, with the servers that they need'
	@echo 'make test-long  run the longer tests'
	@echo 'make lint       run ruff and mypy'
	@echo 'make format     format with ruff'
	@echo 'make bench      compare the CPU time with scripts that use the SDKs directly'
	@echo 'make picture    draw the picture of check in the README'
	@echo 'make tables     write the tables of policy and verdicts in the documents, from the code'
	@echo 'make reference  write docs/reference, the JSON schema of the project file and the man page, from the code'
	@echo 'make docs       build the documentation site in site/'
	@echo 'make completion write the completion scripts for shells'
	@echo 'make api        write the list of the public interface'
	@echo 'make dist       build the files of a release: wheel, sdist, zipapp, SBOM, checksums'
	@echo 'make release-rehearsal  build them twice, compare, check and install them'
	@echo 'make examples   write the examples of CI systems and of a plugin from the templates'
	@echo 'make rotation-function  build the zip of the rotation function for AWS Lambda'
	@echo 'make lock       lock the requirements again'
	@echo 'make clean      remove the environments'

demo: .venv-core/done
	@PATH="$(CURDIR)/.venv-core/bin:$$PATH" sh examples/demo.sh

test: $(ENVIRONMENTS)
	$(BIN)/python -m pytest -n 4 --dist worksteal -m 'not long' $(ARGS)

test-long: $(ENVIRONMENTS) .venv-airflow/done
	$(BIN)/python -m pytest -m long --timeout 900 -s $(ARGS)

lint: $(VENV)/done
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/done
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/done
	PYTHONPATH="$(CURDIR)" $(BIN)/python -m benchmarks $(ARGS)

picture: $(VENV)/done
	$(BIN)/python .ci/picture.py

tables: $(VENV)/done
	$(BIN)/python .ci/tables.py

reference: tables
	$(BIN)/python .ci/reference

docs: .venv-docs/done
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict
	@echo site/index.html

completion: $(VENV)/done
	$(BIN)/python .ci/completion.py

api: $(VENV)/done
	$(BIN)/python .ci/api.py

examples: $(VENV)/done
	$(BIN)/python .ci/examples.py

# Every build gives the same bytes. The content of the zipapp comes from the lock, through a temporary folder.
dist: .venv-core/done
	@set -e; export SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-315532800}; \
	work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; mkdir "$$work/release"; \
	.venv-core/bin/python -m hatchling build -t sdist -t wheel -d "$$work/release" > /dev/null; \
	.venv-core/bin/python $(PIP) download --require-hashes --only-binary :all: -r requirements/core.txt -d "$$work/locked"; \
	.venv-core/bin/python $(PIP) install --no-index --find-links "$$work/locked" --no-compile --target "$$work/app" \
	  "$$work"/release/*.whl; \
	.venv-core/bin/python .ci/pyz.py "$$work/app" "$$work/release/astro-token.pyz"; \
	if [ -f docs/astro-token.1 ]; then cp docs/astro-token.1 "$$work/release"; fi; \
	version=$$(.venv-core/bin/python -m astro_token --version); version=$${version#astro-token }; \
	.venv-core/bin/python .ci/sbom.py "$$version" "$$work"/release/* > "$$work/sbom"; \
	mv "$$work/sbom" "$$work/release/astro-token.cdx.json"; chmod 644 "$$work"/release/*; chmod 755 "$$work/release/astro-token.pyz"; \
	.venv-core/bin/python .ci/checksums.py "$$work/release"; \
	mkdir -p "$(DIST)"; for file in "$$work"/release/*; do cp "$$file" "$(DIST)"; echo "$(DIST)/$${file##*/}"; done

# What a release does, without the upload. TAG=v1.2.3 has to agree with the version and the changelog.
release-rehearsal: $(VENV)/done .venv-core/done
	$(BIN)/python .ci/rehearse.py "$(DIST)" $(TAG)

# The same for every build machine: pip selects the packages of AWS Lambda's Python and processors.
LAMBDA := --python-version 3.13 --implementation cp --only-binary :all:
rotation-function: .venv-core/done
	@set -e; export SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-315532800}; \
	work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; mkdir -p "$(DIST)"; \
	.venv-core/bin/python -m hatchling build -t wheel -d "$$work/wheel" > /dev/null; \
	for processor in x86_64:x86_64 arm64:aarch64; do \
	  name=$${processor%:*}; platform=manylinux2014_$${processor#*:}; \
	  .venv-core/bin/python $(PIP) download --require-hashes $(LAMBDA) --platform $$platform \
	    -r requirements/aws.txt -d "$$work/locked-$$name"; \
	  set -- "$$work"/wheel/*.whl; \
	  .venv-core/bin/python $(PIP) install --no-index --find-links "$$work/locked-$$name" $(LAMBDA) --platform $$platform \
	    --no-compile --target "$$work/app-$$name" "$$1[aws]"; \
	  .venv-core/bin/python .ci/pyz.py --function "$$work/app-$$name" "$(DIST)/astro-token-rotation-$$name.zip"; \
	  echo "$(DIST)/astro-token-rotation-$$name.zip"; \
	done

# A pylock has what an installation needs, in the versions of the lock of the same name, which has the build too.
lock: $(VENV)/done
	@set -e; cd requirements; compile() { \
	  ../$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --no-emit-find-links --no-annotate $(LOCK) "$$@"; \
	}; \
	for lock in \
	    "core ../pyproject.toml build.in" "oldest ../pyproject.toml --extra all build.in --resolution lowest-direct" \
	    "dev ../pyproject.toml --extra all dev.in" "ministack ministack.in" "airflow airflow.in" "docs docs.in" \
	    $(foreach extra,$(EXTRAS),"$(extra) ../pyproject.toml --extra $(extra) build.in -c dev.txt"); do \
	  set -- $$lock; name=$$1; shift; compile "$$@" -o $$name.txt; \
	done; \
	work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	for name in core $(EXTRAS); do \
	  case $$name in core) extra= to=pylock.toml ;; *) extra="--extra $$name" to=pylock.$$name.toml ;; esac; \
	  compile ../pyproject.toml $$extra -c $$name.txt --format pylock.toml -o "$$work/pylock.$$name.toml"; \
	  ../$(BIN)/python ../.ci/pylock.py "$$work/pylock.$$name.toml" $$to; \
	done

clean:
	rm -rf .venv .venv-* dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/done: requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) $(LOCKED) -r requirements/dev.txt
	$(BIN)/python $(PIP) $(OURSELVES) -e .
	@touch $@

.venv-core/done: requirements/core.txt pyproject.toml
	$(PYTHON) -m venv .venv-core
	.venv-core/bin/python $(PIP) $(LOCKED) -r requirements/core.txt
	.venv-core/bin/python $(PIP) $(OURSELVES) -e .
	@touch $@

# The environment of a user who installs one extra and nothing else.
$(EXTRAS:%=.venv-%/done): .venv-%/done: requirements/%.txt pyproject.toml $(VENV)/done
	$(PYTHON) -m venv --without-pip .venv-$*
	$(BIN)/python $(PIP) --python .venv-$* $(LOCKED) -r requirements/$*.txt
	$(BIN)/python $(PIP) --python .venv-$* $(OURSELVES) -e .
	@touch $@

# The oldest versions that the extras allow.
.venv-oldest/done: requirements/oldest.txt pyproject.toml $(VENV)/done
	$(PYTHON) -m venv --without-pip .venv-oldest
	$(BIN)/python $(PIP) --python .venv-oldest $(LOCKED) --no-deps -r requirements/oldest.txt
	$(BIN)/python $(PIP) --python .venv-oldest $(OURSELVES) -e .
	@touch $@

.venv-ministack/done: requirements/ministack.txt
	$(PYTHON) -m venv .venv-ministack
	.venv-ministack/bin/python $(PIP) $(LOCKED) -r requirements/ministack.txt
	@touch $@

# Airflow, for its example and with the secrets backends that `airflow` is compared with.
# Only for `make test-long`: it is large.
.venv-airflow/done: requirements/airflow.txt $(VENV)/done
	$(PYTHON) -m venv --without-pip .venv-airflow
	$(BIN)/python $(PIP) --python .venv-airflow $(LOCKED) -r requirements/airflow.txt
	@touch $@

# The documentation site.
.venv-docs/done: requirements/docs.txt $(VENV)/done
	$(PYTHON) -m venv --without-pip .venv-docs
	$(BIN)/python $(PIP) --python .venv-docs $(LOCKED) -r requirements/docs.txt
	@touch $@
