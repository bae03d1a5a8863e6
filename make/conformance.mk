# Other projects' kernels, fetched by hash: compiled, run against FP64 and validated. What it finds
# is docs/conformance.md. ARGS names projects, --share 1 tries every kernel, --only a part.
.PHONY: conformance

conformance: $(VENV)/installed
	$(BIN)/python tests/conformance/run.py $(ARGS)
