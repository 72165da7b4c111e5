"""Digits under FF1: marks of what was made, and under which key; records that are known to hold some.

A mark is a keyed digest of sealed digits, written before they go to the CRM. What is not marked was not made here and
is never opened. vault_digits_record is for counting only: what a certificate of erasure has to name.
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

TABLES = (
    """
    CREATE TABLE vault_digits (
        tenant     text NOT NULL,
        entity     text NOT NULL,
        field      text NOT NULL,
        mark       bytea NOT NULL CHECK (octet_length(mark) = 16),
        ff1_key    bytea NOT NULL,
        made_at    timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant, entity, field, mark)
    )
    """,
    """
    CREATE TABLE vault_digits_record (
        tenant     text NOT NULL,
        entity     text NOT NULL,
        field      text NOT NULL,
        record     text NOT NULL,
        noted_at   timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant, entity, record, field)
    )
    """,
)


def upgrade() -> None:
    """Make the tables."""
    for statement in TABLES:
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    for table in ("vault_digits_record", "vault_digits"):
        op.execute(f"DROP TABLE {table}")
