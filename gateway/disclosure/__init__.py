"""Disclosures: one value that is masked for a person is shown to them, for a reason, once, and on record."""
