"""The eight prototypes, a folder each."""
