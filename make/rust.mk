# The Rust crates, CubeCL's generator and Burn's trait: optional, and apart from `make test`.
# cargo downloads what Cargo.lock pins the first time; later builds need no network.
RUST_DIR := $(CURDIR)/build/rust
RUST_KERNELS := $(CURDIR)/build/kernels
CARGO := CARGO_TARGET_DIR=$(RUST_DIR) cargo
RUST_ENVIRONMENT = CARGO_TARGET_DIR=$(RUST_DIR) ATTNPROTO_KERNELS=$(RUST_KERNELS) \
	  ATTNPROTO_LIBRARY=$$($(BIN)/python -c 'from attnproto.prototypes import rust_crates; print(rust_crates.library_path())')

# Tests are built of the same crates as the programs, so that Burn is compiled once, but the
# generic code of Burn that each test brings with it is not optimised: a tenth of the time.
CARGO_TEST := cargo test --quiet --locked --release --manifest-path rust/Cargo.toml \
	  --config 'profile.release.package.attnproto-burn.opt-level=0'

# What they and the C ABI's library are asked by pytest.
RUST_TESTS := tests/test_c_api.py tests/test_rust.py tests/test_static_code.py

# NVIDIA's assembler, for counts of registers and instructions: the extra "sass".
SASS := $(if $(filter Linux,$(shell uname -s)),nvidia-cuda-nvcc nvidia-cuda-nvdisasm)

.PHONY: rust-fetch rust-build rust-test rust-sanitize rust-bench rust-lint

rust-fetch:
	@command -v cargo >/dev/null || \
	  { echo "[make] found no cargo, needs Rust 1.92 or later; install it with rustup"; exit 1; }
	@$(CARGO) fetch --quiet --locked --manifest-path rust/Cargo.toml || \
	  { echo "[make] found crates that cannot be downloaded, needs a network once; run make rust-build there"; exit 1; }

rust-build: rust-fetch
	$(CARGO) build --quiet --locked --release --manifest-path rust/Cargo.toml

$(RUST_KERNELS)/flash.tsv: $(VENV)/installed
	$(BIN)/python -m attnproto.kernels.exported $(RUST_KERNELS)

rust-test: rust-sanitize
	$(RUST_ENVIRONMENT) $(CARGO_TEST)
	@# The program that tests leave is not optimised.
	$(MAKE) rust-build
	$(if $(SASS),$(BIN)/python -m pip install --quiet --disable-pip-version-check $(SASS))
	$(RUST_ENVIRONMENT) $(BIN)/python -m pytest -n auto --dist worksteal $(RUST_TESTS) $(ARGS)

# The crate that holds the unsafe code, under the address sanitizer, which stable Rust has
# behind this switch; it counts what is not given back too.
rust-sanitize: rust-fetch $(RUST_KERNELS)/flash.tsv
	host=$$(rustc -vV | sed -n 's/^host: //p'); \
	$(RUST_ENVIRONMENT) RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address \
	  $(CARGO_TEST) -p attnproto-sys --target $$host --test library

rust-bench: $(VENV)/installed rust-build
	$(RUST_ENVIRONMENT) $(BIN)/python bench/run_all.py --only cubecl,burn --device cpu $(ARGS)

# Clippy as the compiler of our crates alone, so that the others are compiled once for it and for
# rust-build; `cargo clippy` goes over them once more. That the driver refuses is asked first.
CLIPPY := CLIPPY_ARGS=-Dwarnings__CLIPPY_HACKERY__-Copt-level=0

rust-lint: rust-fetch
	cargo fmt --all --check --manifest-path rust/Cargo.toml
	@! echo 'pub fn one() -> u32 { return 1; }' | $(CLIPPY) clippy-driver --crate-type lib --emit metadata \
	  --out-dir $(RUST_DIR)/clippy - 2>/dev/null || \
	  { echo "[make] found a clippy-driver that lets a warning pass, needs one that reads CLIPPY_ARGS; run cargo clippy"; exit 1; }
	$(CLIPPY) RUSTC_WORKSPACE_WRAPPER=clippy-driver \
	  $(CARGO) build --quiet --locked --release --all-targets --manifest-path rust/Cargo.toml
