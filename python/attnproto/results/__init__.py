"""Rows, findings, and where they are kept."""
