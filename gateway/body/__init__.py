"""Containers: how values are found in, taken out of and put back into each body format."""
