# Every target makes the environment it needs; the second time that takes no time.
.PHONY: help demo test check format lock audit fuzz soak bench clean

help:
	@echo "make demo    one fused answer from a real model on this machine, no key"
	@echo "make test    checks and tests"
	@echo "make check   checks only: format, lint, types, layers"
	@echo "make format  rewrites the code in its format"
	@echo "make lock    writes requirements/*.lock anew (UPGRADE=1 for newer versions)"
	@echo "make audit   advisories about the locked packages; dist/sbom.json of what users install"
	@echo "make fuzz    requests of every shape against the real server, from its own OpenAPI"
	@echo "make soak    mixed load with faults for MINUTES (10): what holds, and what is left over"
	@echo "make bench   prints the benchmarks' figures"
	@echo "make clean   deletes what the other targets made, the model cache excepted"

demo:
	@scripts/demo

test:
	@scripts/test

check:
	@scripts/check

format:
	@scripts/environment dev
	@.venv/bin/ruff check --quiet --fix src tests benchmarks scripts
	@.venv/bin/ruff format src tests benchmarks scripts

lock:
	@scripts/environment dev
	@scripts/lock $(if $(UPGRADE),--upgrade)

audit:
	@scripts/audit $(if $(STRICT),--strict)

fuzz:
	@scripts/fuzz

soak:
	@scripts/environment dev
	@.venv/bin/python -m benchmarks.soak $(if $(MINUTES),--minutes $(MINUTES))
	@.venv/bin/python -m benchmarks.streams
	@.venv/bin/python -m benchmarks.clients

bench:
	@scripts/environment dev
	@.venv/bin/consilience models pull smollm2-135m-instruct wordllama-256 minilm-l6-int8 >/dev/null
	@.venv/bin/python -m benchmarks

clean:
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build dist
	rm -rf tests/clients/node/node_modules
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
