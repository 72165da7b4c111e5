"""Keys and the vault: wrapped field keys, sealed values, their origins and their equality terms.

No column holds a value or a key in the clear. `vault.surrogate` and the HMAC terms are all that links a row to the CRM.
"""

from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels = None
depends_on = None


TABLES = (
    """
    CREATE TABLE kms_key (
        tenant      text NOT NULL,
        id          bytea NOT NULL CHECK (octet_length(id) = 4),
        scope       text NOT NULL,
        purpose     text NOT NULL,
        provider    text NOT NULL,
        wrapped     bytea NOT NULL,
        commitment  bytea NOT NULL,
        created_at  timestamptz NOT NULL DEFAULT now(),
        retired_at  timestamptz,
        PRIMARY KEY (tenant, id)
    )
    """,
    "CREATE UNIQUE INDEX kms_key_current ON kms_key (tenant, scope, purpose) WHERE retired_at IS NULL",
    """
    CREATE TABLE vault (
        tenant        text NOT NULL,
        surrogate     text COLLATE "C" NOT NULL,
        kind          text NOT NULL,
        deterministic boolean NOT NULL,
        equal_term    bytea NOT NULL,
        equal_key     bytea NOT NULL,
        normaliser    smallint NOT NULL,
        seal_key      bytea NOT NULL,
        blob          bytea NOT NULL,
        created_at    timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant, surrogate)
    )
    """,
    "CREATE UNIQUE INDEX vault_one_per_value ON vault (tenant, kind, equal_term) WHERE deterministic",
    # Names and addresses are found by their terms, exact and folded, and by aliases ("last first").
    """
    CREATE TABLE vault_term (
        tenant    text NOT NULL,
        kind      text NOT NULL,
        term      bytea NOT NULL,
        surrogate text COLLATE "C" NOT NULL,
        PRIMARY KEY (tenant, kind, term, surrogate),
        FOREIGN KEY (tenant, surrogate) REFERENCES vault (tenant, surrogate) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX vault_term_surrogate ON vault_term (tenant, surrogate)",
    # record '' means: not bound yet; cell says which exchange may bind it.
    """
    CREATE TABLE vault_origin (
        tenant     text NOT NULL,
        surrogate  text COLLATE "C" NOT NULL,
        entity     text NOT NULL,
        field      text NOT NULL,
        record     text NOT NULL DEFAULT '',
        cell       text NOT NULL DEFAULT '',
        spelling   bytea,
        created_at timestamptz NOT NULL DEFAULT now(),
        retired_at timestamptz,
        FOREIGN KEY (tenant, surrogate) REFERENCES vault (tenant, surrogate) ON DELETE CASCADE
    )
    """,
    "CREATE UNIQUE INDEX vault_origin_bound ON vault_origin (tenant, surrogate, entity, field, record)"
    " WHERE record <> ''",
    "CREATE UNIQUE INDEX vault_origin_open ON vault_origin (tenant, surrogate, entity, field, cell) WHERE record = ''",
    "CREATE INDEX vault_origin_cell ON vault_origin (tenant, cell) WHERE cell <> ''",
    "CREATE INDEX vault_origin_record ON vault_origin (tenant, entity, record, field) WHERE record <> ''",
)


def upgrade() -> None:
    """Make the tables."""
    for statement in TABLES:
        op.execute(statement)
