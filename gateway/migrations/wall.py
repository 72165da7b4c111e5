"""The wall between tenants in the database: row-level security on every table that has a column `tenant`.

A transaction names its tenant in the setting `crmgate.tenant` (kms.connections, audit.store) and sees and writes the
rows of that one only; `*` are all tenants; a transaction that named none sees nothing. FORCE makes it hold for the
account that owns the tables, too; superusers and accounts with BYPASSRLS pass. The tables are read from the catalogue,
so that one that is made later is not forgotten: `runner.upgrade` puts the wall up after every upgrade.
"""

from alembic import op
from sqlalchemy import Connection, text

POLICY = "crmgate_tenant"
NAMED = "current_setting('crmgate.tenant', true)"
_OWN = f"tenant = {NAMED} AND {NAMED} <> '' OR {NAMED} = '*'"
# Terms are found through an inverted index by an operator that PostgreSQL does not count as leakproof; behind a
# policy it would read every row of the table instead. A term is an HMAC under the tenant's own key.
READ_BY_ALL = frozenset({"vault_index"})
_TABLES = text(
    """
    SELECT c.oid::regclass::text AS name, c.relname
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p') AND c.relnamespace = current_schema()::regnamespace
      AND NOT (c.relrowsecurity AND c.relforcerowsecurity
               AND EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname LIKE :policy || '%'))
    ORDER BY 1
    """
)


def put_up(connection: Connection) -> list[str]:
    """Put the wall up on every table with a tenant that lacks it; their names."""
    missing = connection.execute(_TABLES, {"policy": POLICY}).all()
    for name, bare in missing:
        for statement in _statements(name, bare in READ_BY_ALL):
            connection.execute(text(statement))
    return [name for name, _ in missing]


def _statements(name: str, read_by_all: bool) -> list[str]:
    first = [f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY", f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY"]
    if not read_by_all:
        return [*first, f"CREATE POLICY {POLICY} ON {name} USING ({_OWN}) WITH CHECK ({_OWN})"]
    return [
        *first,
        f"CREATE POLICY {POLICY}_read ON {name} FOR SELECT USING (true)",
        f"CREATE POLICY {POLICY}_insert ON {name} FOR INSERT WITH CHECK ({_OWN})",
        f"CREATE POLICY {POLICY}_update ON {name} FOR UPDATE USING ({_OWN}) WITH CHECK ({_OWN})",
        f"CREATE POLICY {POLICY}_delete ON {name} FOR DELETE USING ({_OWN})",
    ]


def take_down() -> None:
    """Take the wall away again, in a downgrade."""
    op.execute(
        f"""
        DO $$ DECLARE one record; BEGIN
            FOR one IN SELECT polrelid::regclass AS name, polname FROM pg_policy WHERE polname LIKE '{POLICY}%' LOOP
                EXECUTE format('DROP POLICY %I ON %s', one.polname, one.name);
                EXECUTE format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', one.name);
                EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', one.name);
            END LOOP;
        END $$
        """  # noqa: S608 - a name of ours
    )
