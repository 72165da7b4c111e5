"""`crmgate keys`: what keys there are, where they come from, and what an operator does to them.

Shows ids, ages and states, never a secret.
"""

import asyncio
import time

import typer
from rich.table import Table

from gateway.cli_shell import PROBLEM, FileOption, TenantOption, out, settings_of, tenant_of, told_plainly
from gateway.database import open_pool
from gateway.opening import open_database, open_keys
from gateway.settings import Settings
from kms.keyring import Keyring, KeyringStatus
from kms.store import Store

app = typer.Typer(help="Encryption keys.", no_args_is_help=True)


@app.command("status")
def keys_status(tenant: TenantOption = "", config: FileOption = None) -> None:
    """Show the key provider and every key by id, age and purpose; never a secret."""
    with told_plainly():
        settings = settings_of(config)
        name = tenant_of(settings, tenant)
        database = open_database(settings)
        try:
            status = asyncio.run(_key_status(settings, name, database.dsn))
        finally:
            database.close()
    out.print(f"provider {status.provider}: {status.message or 'can be used'}", markup=False)
    table = Table("key", "scope", "purpose", "age", "state", box=None)
    for key in status.keys:
        table.add_row(
            key.id, key.scope, key.purpose, f"{key.age_s / 86400:.1f} d", "retired" if key.retired else "live"
        )
    out.print(table)
    if status.problem:
        raise typer.Exit(PROBLEM)


async def _key_status(settings: Settings, tenant: str, dsn: str) -> KeyringStatus:
    pool = await open_pool(dsn, max_size=2)
    keyring = Keyring(open_keys(settings), Store(pool), clock=time.monotonic)
    try:
        return await keyring.status(tenant)
    finally:
        await keyring.close()
        await pool.close()
