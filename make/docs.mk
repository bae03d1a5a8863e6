# The documents as a site in build/site: pages, reference and charts, with nothing from a network.
.PHONY: docs

$(VENV)/installed-docs: $(VENV)/installed
	$(PIP) install --quiet $$($(BIN)/python tools/requirements.py docs)
	@touch $@

docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet $(ARGS)
