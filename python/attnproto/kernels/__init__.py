"""Kernel texts and the host code that launches them."""
