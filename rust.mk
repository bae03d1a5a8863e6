# The Rust crates, CubeCL's generator and Burn's trait: optional, and apart from `make test`.
# cargo downloads what Cargo.lock pins the first time; later builds need no network.
RUST_DIR := $(CURDIR)/build/rust
C_API_DIR := $(CURDIR)/build/c-api
RUST_KERNELS := $(CURDIR)/build/kernels
CARGO := CARGO_TARGET_DIR=$(RUST_DIR) cargo
RUST_ENVIRONMENT = CARGO_TARGET_DIR=$(RUST_DIR) ATTNPROTO_KERNELS=$(RUST_KERNELS) \
	  ATTNPROTO_LIBRARY=$$(ls $(C_API_DIR)/libattnproto.so $(C_API_DIR)/libattnproto.dylib 2>/dev/null | head -n 1)

.PHONY: c-api c-api-test rust-build rust-test rust-bench rust-lint

c-api: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check nanobind cmake ninja
	PATH=$(CURDIR)/$(BIN):$$PATH cmake -G Ninja -S . -B $(C_API_DIR) -DATTNPROTO_C_API=ON \
	  -DCMAKE_BUILD_TYPE=Release -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python >/dev/null
	$(BIN)/ninja -C $(C_API_DIR) --quiet attnproto

# A host in C, with kernels and archives but without Python.
c-api-test: c-api
	$(RUST_ENVIRONMENT) $(BIN)/python -m pytest tests/test_c_api.py $(ARGS)

rust-build:
	@command -v cargo >/dev/null || \
	  { echo "[make] found no cargo, needs Rust 1.92 or later; install it with rustup"; exit 1; }
	@$(CARGO) fetch --quiet --locked --manifest-path rust/Cargo.toml || \
	  { echo "[make] found crates that cannot be downloaded, needs a network once; run make rust-build there"; exit 1; }
	$(CARGO) build --quiet --locked --release --manifest-path rust/Cargo.toml

rust-test: c-api rust-build
	$(BIN)/python -m attnproto.kernels.exported $(RUST_KERNELS)
	$(RUST_ENVIRONMENT) cargo test --quiet --locked --release --manifest-path rust/Cargo.toml
	$(RUST_ENVIRONMENT) $(BIN)/python -m pytest tests/test_c_api.py tests/test_rust.py $(ARGS)

rust-bench: c-api rust-build
	$(RUST_ENVIRONMENT) $(BIN)/python bench/run_all.py --only cubecl --only burn --device cpu $(ARGS)

rust-lint: rust-build
	cargo fmt --all --check --manifest-path rust/Cargo.toml
	$(CARGO) clippy --quiet --locked --release --all-targets --manifest-path rust/Cargo.toml -- -D warnings
