# The cpu device on arm64 without such a machine: engine and kernels are built for it and run by
# QEMU, which the system's packages have, with the C library that belongs to it.
ARM64 := build/arm64
ARM64_TARGET := -target aarch64-linux-gnu.2.31 -mcpu=apple_m1
ARM64_FLAGS := -O2 -ffp-contract=fast -fPIC -Wall -Wextra -Icpp -Ipython/attnproto/compiler/headers/include
ARM64_SOURCES := $(filter-out cpp/bindings%.cpp,$(wildcard cpp/*.cpp)) $(wildcard cpp/cpu/*.cpp) \
  $(wildcard cpp/cuda/*.cpp) cpp/cpu/switch.S cpp/metal/no_metal.cpp
ARM64_HEADERS := $(wildcard cpp/*.h cpp/cpu/*.h cpp/cuda/*.h)
ARM64_OBJECTS := $(addprefix $(ARM64)/,$(addsuffix .o,$(ARM64_SOURCES)))
ARM64_ZIG := $(BIN)/python -m ziglang
ARM64_PACKAGES := qemu-user libc6-arm64-cross

.PHONY: arm64-test arm64-packages

arm64-packages:
	@command -v qemu-aarch64 >/dev/null && test -e /usr/aarch64-linux-gnu/lib/libc.so.6 || \
	  { S=$$(test $$(id -u) = 0 || echo sudo); $$S apt-get update -qq && $$S apt-get install -y -qq $(ARM64_PACKAGES); }

$(ARM64)/%.cpp.o: %.cpp $(ARM64_HEADERS) | $(VENV)/installed
	@mkdir -p $(@D)
	$(ARM64_ZIG) c++ $(ARM64_TARGET) -std=c++17 $(ARM64_FLAGS) -c $< -o $@

$(ARM64)/%.S.o: %.S | $(VENV)/installed
	@mkdir -p $(@D)
	$(ARM64_ZIG) cc $(ARM64_TARGET) -c $< -o $@

$(ARM64)/libattnproto.so: $(ARM64_OBJECTS)
	$(ARM64_ZIG) c++ $(ARM64_TARGET) -shared $^ -o $@

$(ARM64)/run_kernel: tests/arm64/run_kernel.c $(ARM64)/libattnproto.so
	$(ARM64_ZIG) cc $(ARM64_TARGET) -std=c11 -Wall -Wextra -Icpp $^ -Wl,-rpath,'$$ORIGIN' -o $@

arm64-test: arm64-packages $(ARM64)/run_kernel
	ATTNPROTO_ARM64=$(abspath $(ARM64)) $(BIN)/python -m pytest -n auto --dist worksteal tests/test_arm64.py $(ARGS)
