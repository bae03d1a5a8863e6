"""Prototype 8: Burn's extension trait."""
