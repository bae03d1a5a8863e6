# The documents as a site in build/site: pages, reference and charts, with nothing from a network.
.PHONY: docs

$(VENV)/installed-docs: $(VENV)/installed
	$(PIP) install --quiet $$($(BIN)/python tools/requirements.py docs)
	@touch $@

docs: $(VENV)/installed-docs
	$(BIN)/python -m mkdocs build --strict --quiet $(ARGS)
