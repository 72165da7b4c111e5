"""Revisions, in order: 0001 kms, 0002 audit, 0003 access, 0004 records, 0005 key destruction."""
