"""What passes know of a function without changing it."""
