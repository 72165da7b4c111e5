"""Learning a CRM that nobody has described: watching it, reading its documents, proposing a profile, noticing drift."""
