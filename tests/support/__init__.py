"""What several test files, the planted bugs and the benchmarks share; no test is in here."""
