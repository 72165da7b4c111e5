"""Holders: whose key wraps which value. The keys themselves are in the person store and never here."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

STATEMENTS = (
    # cell: the exchange a holder was made in before its record was known; it stays when the record is. A record may
    # have several holders: they were made by creates that ran at once. erased_at: a tombstone, kept for good.
    """
    CREATE TABLE vault_holder (
        tenant     text NOT NULL,
        id         bytea NOT NULL CHECK (octet_length(id) = 16),
        entity     text NOT NULL,
        record     text NOT NULL DEFAULT '',
        cell       text NOT NULL DEFAULT '',
        created_at timestamptz NOT NULL DEFAULT now(),
        erased_at  timestamptz,
        PRIMARY KEY (tenant, id),
        CHECK (record <> '' OR cell <> '')
    )
    """,
    "CREATE UNIQUE INDEX vault_holder_made ON vault_holder (tenant, entity, record)"
    " WHERE cell = '' AND erased_at IS NULL",
    "CREATE UNIQUE INDEX vault_holder_cell ON vault_holder (tenant, entity, cell)"
    " WHERE cell <> '' AND erased_at IS NULL",
    "CREATE INDEX vault_holder_record ON vault_holder (tenant, entity, record) WHERE record <> ''",
    """
    CREATE TABLE vault_wrap (
        tenant    text NOT NULL,
        surrogate text COLLATE "C" NOT NULL,
        holder    bytea NOT NULL,
        wrapped   bytea NOT NULL,
        PRIMARY KEY (tenant, surrogate, holder),
        FOREIGN KEY (tenant, surrogate) REFERENCES vault (tenant, surrogate) ON DELETE CASCADE,
        FOREIGN KEY (tenant, holder) REFERENCES vault_holder (tenant, id)
    )
    """,
    "CREATE INDEX vault_wrap_holder ON vault_wrap (tenant, holder)",
    # held: the key of the entry comes from its field key and its value key, which vault_wrap has; else from the first.
    "ALTER TABLE vault ADD COLUMN held boolean NOT NULL DEFAULT false",
    # One row an order to erase; the certificate is there once the epoch was turned.
    """
    CREATE TABLE kms_shredding (
        tenant       text NOT NULL,
        id           text NOT NULL,
        actor        text NOT NULL,
        actor_login  text NOT NULL,
        reason       text NOT NULL,
        records      text[] NOT NULL,
        holders      bytea[] NOT NULL DEFAULT '{}',
        counts       jsonb NOT NULL DEFAULT '{}',
        begun_at     timestamptz NOT NULL,
        destroyed_at timestamptz,
        epoch        integer,
        closed_at    timestamptz,
        certificate  text NOT NULL DEFAULT '',
        PRIMARY KEY (tenant, id)
    )
    """,
    "CREATE INDEX kms_shredding_open ON kms_shredding (tenant) WHERE certificate = ''",
)


def upgrade() -> None:
    """Make the tables and the mark."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Drop them; refused while values are held, because nothing would open them any more."""
    op.execute(
        "DO $$ BEGIN IF EXISTS (SELECT 1 FROM vault WHERE held) THEN"
        " RAISE EXCEPTION 'values are held by person keys'; END IF; END $$"
    )
    op.execute("DROP TABLE kms_shredding")
    op.execute("DROP TABLE vault_wrap")
    op.execute("DROP TABLE vault_holder")
    op.execute("ALTER TABLE vault DROP COLUMN held")
