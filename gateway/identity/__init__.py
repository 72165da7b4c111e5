"""Whom a CRM takes a person for: what the gateway bears towards it instead of what the person's own browser says."""
