"""Value keys of cells and files, wrapped once for each holder; their ciphertext is in the CRM."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

STATEMENTS = (
    # held: the key comes from a field key and the value key that vault_cell_wrap has; else from the first alone.
    # erased_at: its value key is gone because everybody who held it was erased; without that, one that is not there
    # is a fault.
    "ALTER TABLE vault_cell ADD COLUMN held boolean NOT NULL DEFAULT false",
    "ALTER TABLE vault_cell ADD COLUMN erased_at timestamptz",
    """
    CREATE TABLE vault_cell_wrap (
        tenant  text NOT NULL,
        cell    bytea NOT NULL,
        holder  bytea NOT NULL,
        wrapped bytea NOT NULL,
        PRIMARY KEY (tenant, cell, holder),
        FOREIGN KEY (tenant, cell) REFERENCES vault_cell (tenant, cell) ON DELETE CASCADE,
        FOREIGN KEY (tenant, holder) REFERENCES vault_holder (tenant, id)
    )
    """,
    "CREATE INDEX vault_cell_wrap_holder ON vault_cell_wrap (tenant, holder)",
)


def upgrade() -> None:
    """Make the table and the marks."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Drop them; refused while cells or files are held, because nothing would open them any more."""
    op.execute(
        "DO $$ BEGIN IF EXISTS (SELECT 1 FROM vault_cell WHERE held) THEN"
        " RAISE EXCEPTION 'cells or files are held by person keys'; END IF; END $$"
    )
    op.execute("DROP TABLE vault_cell_wrap")
    op.execute("ALTER TABLE vault_cell DROP COLUMN erased_at")
    op.execute("ALTER TABLE vault_cell DROP COLUMN held")
