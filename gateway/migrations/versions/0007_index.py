"""The blind index: keyed, cut terms of the parts of sealed values, for searching by a part.

One row for each value, purpose and key. Terms carry tenant (through the key), kind and purpose inside, so one inverted
index serves all of them.
"""

from alembic import op

revision = "0007"
down_revision: str | None = "0006"
branch_labels = None
depends_on = None


TABLES = (
    """
    CREATE TABLE vault_index (
        tenant    text NOT NULL,
        surrogate text COLLATE "C" NOT NULL,
        kind      text NOT NULL,
        purpose   text NOT NULL,
        key       bytea NOT NULL CHECK (octet_length(key) = 4),
        version   text NOT NULL,
        terms     bigint[] NOT NULL,
        PRIMARY KEY (tenant, surrogate, purpose, key),
        FOREIGN KEY (tenant, surrogate) REFERENCES vault (tenant, surrogate) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX vault_index_terms ON vault_index USING gin (terms)",
    "CREATE INDEX vault_index_key ON vault_index (tenant, key)",
)


def upgrade() -> None:
    """Make the table."""
    for statement in TABLES:
        op.execute(statement)
