"""A lane's kernel becomes a simdgroup's: the engine lockstep."""
