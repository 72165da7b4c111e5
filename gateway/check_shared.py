"""What `crmgate check` reads in the database: how many nodes share it, and what the gateway's own work needs there.

Nothing is started for it: a database that does not answer, or that was never used, tells nothing here.
"""

import psycopg

from gateway.check_duties import check_accounts
from gateway.database import DatabaseUnavailable, EmbeddedPostgres, EmbeddedServerFault, open_pool
from gateway.finding import Finding, Weight, finding
from gateway.key_config import PersonStoreKind
from gateway.opening import embedded_folder, own_dsn
from gateway.process_store import hosts
from gateway.protect.store import ProtectStore
from gateway.settings import Settings
from gateway.toml_tree import SettingInvalid
from kms.store import StoreUnavailable

TIMEOUT_S = 5.0


async def check_shared(settings: Settings, timeout_s: float = TIMEOUT_S) -> list[Finding]:
    """Nodes that cannot share a file of person keys, and lookouts that have no credential."""
    try:
        dsn = own_dsn(settings)
        if not dsn:
            folder = embedded_folder(settings)
            if not folder.exists():
                return _uncredentialed(settings, set())
            dsn = EmbeddedPostgres(folder).dsn
        # A pool waits for a server that is not there; one connection says so at once.
        await (await psycopg.AsyncConnection.connect(dsn, connect_timeout=int(timeout_s))).close()
        pool = await open_pool(dsn, max_size=1, timeout_s=timeout_s)
    except (SettingInvalid, DatabaseUnavailable, EmbeddedServerFault, psycopg.Error):
        return []
    try:
        nodes = await hosts(pool)
        store = ProtectStore(pool)
        found = await check_accounts(settings, pool)
        kept = {name for name in settings.tenants if await store.credential(name) is not None}
    except StoreUnavailable:
        return []
    finally:
        await pool.close()
    found += _uncredentialed(settings, kept)
    if settings.persons.store is PersonStoreKind.SQLITE and len(nodes) > 1:
        found.append(finding("persons-not-shared", Weight.WARNING, "persons.store", nodes=", ".join(sorted(nodes))))
    return found


def _uncredentialed(settings: Settings, kept: set[str]) -> list[Finding]:
    return [
        finding("arrivals-no-credential", Weight.WARNING, f"tenant.{name}.arrivals_s", tenant=name)
        for name, tenant in settings.tenants.items()
        if tenant.arrivals_s > 0 and name not in kept
    ]
