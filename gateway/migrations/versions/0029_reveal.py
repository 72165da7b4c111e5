"""Reveals with a reason: sittings (one value may be opened with each), and the ledger of who saw what and why."""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.execute(
        """
        CREATE TABLE reveal_sitting (
            tenant      text NOT NULL,
            token_hash  bytea NOT NULL,
            session_id  text NOT NULL,
            user_id     text NOT NULL,
            handle      text NOT NULL,
            entered     boolean NOT NULL DEFAULT false,
            attempts    integer NOT NULL DEFAULT 0,
            expires_at  timestamptz NOT NULL,
            PRIMARY KEY (tenant, token_hash)
        );
        CREATE INDEX reveal_sitting_expires ON reveal_sitting (expires_at);
        CREATE TABLE reveal_ledger (
            tenant      text NOT NULL,
            id          text NOT NULL,
            at          timestamptz NOT NULL,
            actor       text NOT NULL,
            login       text NOT NULL,
            entity      text NOT NULL,
            field       text NOT NULL,
            record      text NOT NULL,
            kind        text NOT NULL,
            door        text NOT NULL,
            step_up     boolean NOT NULL,
            outcome     text NOT NULL,
            reason      bytea NOT NULL,
            PRIMARY KEY (tenant, id)
        );
        CREATE INDEX reveal_ledger_at ON reveal_ledger (tenant, at DESC, id);
        CREATE INDEX reveal_ledger_actor ON reveal_ledger (tenant, actor, at DESC);
        CREATE INDEX reveal_ledger_record ON reveal_ledger (tenant, record, at DESC);
        CREATE TRIGGER reveal_ledger_sealed_now BEFORE INSERT OR UPDATE OF reason ON reveal_ledger
            FOR EACH ROW EXECUTE FUNCTION crmgate_sealed_now('reason')
        """
    )


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP TABLE reveal_ledger; DROP TABLE reveal_sitting")
