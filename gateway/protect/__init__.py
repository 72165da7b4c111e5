"""Protecting what a CRM already holds, and the way back."""
