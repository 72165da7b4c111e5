"""Cells and the record each belongs to; values that are kept beside the CRM by record (dates, checksums of FF1).

A row of vault_cell says where a cell was first seen; the value itself is in the CRM's column, or is one of its files. A
file is noted when it is sealed, record '' until it is bound. vault_beside holds envelopes; record '' means: not bound
yet, and cell says which exchange may bind it.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLES = (
    """
    CREATE TABLE vault_cell (
        tenant   text NOT NULL,
        cell     bytea NOT NULL CHECK (octet_length(cell) = 8),
        entity   text NOT NULL,
        field    text NOT NULL,
        record   text NOT NULL DEFAULT '',
        seen_at  timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant, cell)
    )
    """,
    "CREATE INDEX vault_cell_record ON vault_cell (tenant, entity, record)",
    """
    CREATE TABLE vault_beside (
        tenant     text NOT NULL,
        entity     text NOT NULL,
        field      text NOT NULL,
        record     text NOT NULL DEFAULT '',
        cell       text NOT NULL DEFAULT '',
        seal_key   bytea NOT NULL,
        blob       bytea NOT NULL,
        written_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE UNIQUE INDEX vault_beside_bound ON vault_beside (tenant, entity, field, record) WHERE record <> ''",
    "CREATE UNIQUE INDEX vault_beside_open ON vault_beside (tenant, entity, field, cell) WHERE record = ''",
)


def upgrade() -> None:
    """Make the tables."""
    for statement in TABLES:
        op.execute(statement)


def downgrade() -> None:
    """Drop the tables."""
    for table in ("vault_beside", "vault_cell"):
        op.execute(f"DROP TABLE {table}")
