"""Append-only audit log: entries, Merkle tree, verification."""
