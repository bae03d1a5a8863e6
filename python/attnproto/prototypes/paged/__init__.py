"""Prototype 3: paged attention."""
