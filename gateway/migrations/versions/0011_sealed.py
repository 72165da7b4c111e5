"""Nothing is written under a field key that was replaced, whoever writes: a trigger on every sealed column.

The vault's own tables prove it in their transactions (kms.store). These columns have writers in several packages; the
trigger takes the same lock of the tenant as they do, so that the change of a key waits for every writer under the old
one and nobody comes after it. A key that the table does not know is none of its business.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

COLUMNS = (
    ("app_user", "totp_secret"),
    ("app_invitation", "totp_secret"),
    ("crm_credential", "blob"),
    ("protect_record", "kept"),
    ("vault_beside", "blob"),
)
FUNCTION = """
CREATE FUNCTION crmgate_sealed_now() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    sealed bytea;
    before bytea;
BEGIN
    EXECUTE format('SELECT ($1).%I', TG_ARGV[0]) INTO sealed USING NEW;
    IF TG_OP = 'UPDATE' THEN
        EXECUTE format('SELECT ($1).%I', TG_ARGV[0]) INTO before USING OLD;
    END IF;
    IF sealed IS NULL OR sealed = before THEN
        RETURN NEW;
    END IF;
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('crmgate keys ' || NEW.tenant, 0));
    IF EXISTS (
        SELECT 1 FROM kms_key WHERE tenant = NEW.tenant AND id = substring(sealed FROM 2 FOR 4)
        AND (state <> 'current' OR retired_at IS NOT NULL OR destroyed_at IS NOT NULL)
    ) THEN
        RAISE EXCEPTION 'sealed under a key that is no longer the current one';
    END IF;
    RETURN NEW;
END $$
"""


def upgrade() -> None:
    """Make the triggers."""
    op.execute(FUNCTION)
    for table, column in COLUMNS:
        op.execute(
            f"CREATE TRIGGER {table}_sealed_now BEFORE INSERT OR UPDATE OF {column} ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION crmgate_sealed_now('{column}')"
        )


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP FUNCTION crmgate_sealed_now CASCADE")
