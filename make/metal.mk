# The Metal device without a Mac. Each target installs what it needs: clang 19 and
# its libraries from the system's packages, the rest into a virtual environment.
METAL_VENV := build/metal-venv
METAL_BIN := $(METAL_VENV)/bin
METAL_CPP := build/metal-cpp
METAL_DOUBLE := build/metal-double
METAL_PACKAGES := clang-19 lld-19 llvm-19 libclang-rt-19-dev libc++-19-dev libc++abi-19-dev
ASAN_FLAGS := -fsanitize=address -shared-libasan -fno-omit-frame-pointer -gline-tables-only -O1
TSAN_FLAGS := -fsanitize=thread -gline-tables-only -O1

.PHONY: mac-wheel metal-test metal-tsan metal-mutants

$(METAL_VENV)/ready: make/metal.mk
	@command -v clang++-19 >/dev/null && command -v ld64.lld-19 >/dev/null && test -d /usr/lib/llvm-19/include/c++/v1 || \
	  { S=$$(test $$(id -u) = 0 || echo sudo); $$S apt-get update -qq && $$S apt-get install -y -qq $(METAL_PACKAGES); }
	$(PYTHON) -m venv $(METAL_VENV)
	$(METAL_BIN)/pip install --quiet --disable-pip-version-check \
	  "scikit-build-core>=0.11" "setuptools-scm>=8" "nanobind>=2.4" cmake ninja "ziglang>=0.14,<0.18" lief \
	  numpy ml-dtypes scipy pydantic cyclopts rich jinja2 matplotlib llvmlite pytest pytest-xdist hypothesis distributed
	@touch $@

# Pinned and hash-checked; a folder of your own goes in ATTNPROTO_METAL_CPP_DIR.
$(METAL_CPP)/ready: tools/fetch_metal_cpp.py cmake/metal_cpp.cmake $(METAL_VENV)/ready
	$(METAL_BIN)/python tools/fetch_metal_cpp.py \
	  --package "$$(sed -n 's/^set(_metal_cpp_package "\(.*\)")/\1/p' cmake/metal_cpp.cmake)" \
	  --sha256 $$(sed -n 's/^set(_metal_cpp_sha256 \(.*\))/\1/p' cmake/metal_cpp.cmake) \
	  --into $(METAL_CPP)
	@touch $@

build/mac-sdk/SDKSettings.json: tools/mac_sdk.py $(METAL_CPP)/ready
	$(METAL_BIN)/python tools/mac_sdk.py --into build/mac-sdk \
	  --evidence $(METAL_CPP)/mlx/lib/libmlx.dylib

# Cross-built for macOS arm64, linked strictly, inspected; never shipped. So is an exported kernel.
mac-wheel: build/mac-sdk/SDKSettings.json $(VENV)/installed
	rm -rf build/mac-wheel
	_PYTHON_HOST_PLATFORM=macosx-14.0-arm64 PATH=$(CURDIR)/$(METAL_BIN):$$PATH \
	$(METAL_BIN)/pip wheel . --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  --wheel-dir build/mac-wheel -Cbuild-dir=build/mac-wheel/objects \
	  -Ccmake.define.CMAKE_TOOLCHAIN_FILE=$(CURDIR)/cmake/macos-cross.cmake \
	  -Ccmake.define.ATTNPROTO_MAC_SDK=$(CURDIR)/build/mac-sdk \
	  -Ccmake.define.ATTNPROTO_METAL_CPP_DIR=$(CURDIR)/$(METAL_CPP)/mlx/include/metal_cpp \
	  -Ccmake.define.Python_INCLUDE_DIR=$$($(METAL_BIN)/python -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
	$(BIN)/python tools/export_mac_kernel.py build/mac-wheel/kernel.dylib
	$(METAL_BIN)/python tools/check_macho.py build/mac-wheel/*.whl build/mac-wheel/objects \
	  tools/macos14_selectors.txt build/mac-wheel/kernel.dylib

# The Metal device executed against the software double, address sanitizer on: the
# double's own rules, the device through its contract, then the Python suite, but for the files
# that tests/metal_double/left_out.py leaves to the cpu device.
metal_double = CC=clang-19 CXX=clang++-19 PATH=$(CURDIR)/$(METAL_BIN):$$PATH cmake -G Ninja -S . -B $(1) \
	  -DATTNPROTO_METAL_DOUBLE=ON -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS="$(2)" \
	  -DPython_EXECUTABLE=$(CURDIR)/$(METAL_BIN)/python \
	  -DATTNPROTO_METAL_CPP_DIR=$(CURDIR)/$(METAL_CPP)/mlx/include/metal_cpp >/dev/null && \
	  $(METAL_BIN)/ninja -C $(1) --quiet

metal-test: $(METAL_CPP)/ready
	$(call metal_double,$(METAL_DOUBLE),$(ASAN_FLAGS)) _core metal_rules_test metal_device_test
	rm -rf $(METAL_DOUBLE)/python && mkdir -p $(METAL_DOUBLE)/python
	cp -rs $(CURDIR)/python/attnproto $(METAL_DOUBLE)/python/attnproto
	ln -sf $(CURDIR)/$(METAL_DOUBLE)/_core.*.so $(METAL_DOUBLE)/python/attnproto/
	@# A worker's own output is lost with it, so the sanitizer writes to files.
	runtime=$$(clang++-19 -print-file-name=libclang_rt.asan-$$(uname -m).so); \
	report=$(CURDIR)/$(METAL_DOUBLE)/asan; rm -f $$report.*; \
	export ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0:quarantine_size_mb=4:handle_segv=0:allocator_may_return_null=1:log_path=$$report LD_LIBRARY_PATH=$$(dirname $$runtime) && \
	$(METAL_DOUBLE)/metal_rules_test && $(METAL_DOUBLE)/metal_device_test && \
	LD_PRELOAD=$$runtime PYTHONPATH=$(CURDIR)/$(METAL_DOUBLE)/python:$(CURDIR)/tests \
	$(METAL_BIN)/python -m pytest -p metal_double.plugin $(ARGS) || \
	  { grep -hA24 "ERROR: AddressSanitizer" $$report.*; exit 1; }

# The same tests of device and double under the thread sanitizer.
metal-tsan: $(METAL_CPP)/ready
	$(call metal_double,build/metal-tsan,$(TSAN_FLAGS)) metal_rules_test metal_device_test
	build/metal-tsan/metal_rules_test
	build/metal-tsan/metal_device_test

# Breaks the device in one place at a time; prints caught/injected and fails on a miss.
metal-mutants: $(METAL_CPP)/ready
	$(call metal_double,build/metal-mutants,-O0) metal_rules_test metal_device_test
	PATH=$(CURDIR)/$(METAL_BIN):$$PATH $(METAL_BIN)/python tests/metal_double/mutants.py build/metal-mutants
