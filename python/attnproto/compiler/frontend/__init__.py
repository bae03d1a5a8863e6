"""From MSL to LLVM IR: lexer, rewriting, entry points, clang."""
