"""Which points are run, where, and how one that fails costs only itself."""
