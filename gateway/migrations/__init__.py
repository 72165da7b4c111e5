"""Alembic migrations of the one PostgreSQL store."""
