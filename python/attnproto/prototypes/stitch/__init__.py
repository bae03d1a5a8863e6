"""Prototype 2: stitched functions in the attention loop."""
