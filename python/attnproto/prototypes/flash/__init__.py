"""Prototype 1: tiles of flash attention."""
