"""Cipher suites of the G1 envelope, one a module; each takes a field secret and derives what it needs."""
