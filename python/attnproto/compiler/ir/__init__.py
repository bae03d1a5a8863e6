"""LLVM IR as the passes read it: modules, functions, blocks, types."""
