"""Recognising, masking and rendering personal values."""
