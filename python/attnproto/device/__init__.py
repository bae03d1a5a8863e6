"""Devices, libraries, pipelines and archives, as Python sees them."""
