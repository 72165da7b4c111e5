"""Values beside the CRM: which of several the CRM accepted, whose they are, and which have to be looked at again.

generation: what stands in the CRM tells it (the day of a placeholder), so that a value the CRM accepted is known even
where its answer never came. accepted_at: when that is sure, NULL while it is not. left_at: when somebody asked for the
record to be deleted; the gateway's own look says whether it is gone. holder, wrapped: the value key, as in vault_wrap;
NULL for rows of before, which open with the field key alone.
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    ALTER TABLE vault_beside
        ADD COLUMN generation smallint NOT NULL DEFAULT 0 CHECK (generation >= 0),
        ADD COLUMN accepted_at timestamptz,
        ADD COLUMN left_at timestamptz,
        ADD COLUMN holder bytea,
        ADD COLUMN wrapped bytea,
        ADD CHECK ((holder IS NULL) = (wrapped IS NULL)),
        ADD FOREIGN KEY (tenant, holder) REFERENCES vault_holder (tenant, id)
    """,
    "UPDATE vault_beside SET accepted_at = written_at WHERE record <> ''",
    "DROP INDEX vault_beside_bound",
    "CREATE UNIQUE INDEX vault_beside_bound ON vault_beside (tenant, entity, field, record, generation)"
    " WHERE record <> ''",
    "CREATE INDEX vault_beside_unsure ON vault_beside (tenant) WHERE accepted_at IS NULL OR left_at IS NOT NULL",
)


def upgrade() -> None:
    """Add them."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Drop them; refused while values are held, because nothing would open them any more."""
    op.execute(
        "DO $$ BEGIN IF EXISTS (SELECT 1 FROM vault_beside WHERE holder IS NOT NULL) THEN"
        " RAISE EXCEPTION 'values beside the CRM are held by person keys'; END IF; END $$"
    )
    op.execute("DELETE FROM vault_beside WHERE record <> '' AND accepted_at IS NULL")
    op.execute(
        "DELETE FROM vault_beside b USING vault_beside newer WHERE b.record <> '' AND newer.tenant = b.tenant"
        " AND newer.entity = b.entity AND newer.field = b.field AND newer.record = b.record"
        " AND (newer.accepted_at, newer.generation) > (b.accepted_at, b.generation)"
    )
    op.execute("DROP INDEX vault_beside_bound")
    op.execute("DROP INDEX vault_beside_unsure")
    op.execute(
        "ALTER TABLE vault_beside DROP COLUMN generation, DROP COLUMN accepted_at, DROP COLUMN left_at,"
        " DROP COLUMN holder, DROP COLUMN wrapped"
    )
    op.execute(
        "CREATE UNIQUE INDEX vault_beside_bound ON vault_beside (tenant, entity, field, record) WHERE record <> ''"
    )
