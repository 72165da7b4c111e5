"""Evidence for OWASP ASVS 5.0: which requirement is shown by which tests, and what this run of them said."""
