"""Audit trail: entries with their leaf hashes, the size of each tenant's log, signed checkpoints."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the append-only tables."""
    op.execute("""
    CREATE TABLE audit_head (
        tenant text PRIMARY KEY,
        size bigint NOT NULL CHECK (size >= 0)
    ) WITH (fillfactor = 10)
    """)
    op.execute("""
    CREATE TABLE audit_entry (
        tenant text NOT NULL,
        index bigint NOT NULL CHECK (index >= 0),
        at timestamptz NOT NULL,
        kind text NOT NULL,
        actor text NOT NULL,
        operation text NOT NULL,
        entity text NOT NULL,
        record text NOT NULL,
        reason text NOT NULL,
        status smallint NOT NULL,
        exchange text NOT NULL,
        body bytea NOT NULL,
        leaf bytea NOT NULL CHECK (octet_length(leaf) = 32),
        PRIMARY KEY (tenant, index)
    )
    """)
    op.execute("CREATE INDEX audit_entry_at ON audit_entry USING brin (at)")
    op.execute("""
    CREATE TABLE audit_checkpoint (
        tenant text NOT NULL,
        size bigint NOT NULL CHECK (size > 0),
        at timestamptz NOT NULL,
        note text NOT NULL,
        frontier bytea NOT NULL,
        PRIMARY KEY (tenant, size)
    )
    """)
    op.execute("""
    CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'the audit trail is append-only' USING ERRCODE = 'insufficient_privilege';
    END $$
    """)
    for table in ("audit_entry", "audit_checkpoint"):
        op.execute(f"""
        CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()
        """)


def downgrade() -> None:
    """Drop the tables."""
    op.execute("DROP TABLE audit_checkpoint, audit_entry, audit_head")
    op.execute("DROP FUNCTION audit_append_only()")
