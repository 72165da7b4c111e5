"""`crmgate keys`: what keys there are, where they come from, and what an operator does to them.

Shows ids, ages and states, never a secret.
"""

import asyncio
import time
from collections.abc import Mapping

import typer
from rich.table import Table

from gateway import cli_rotation
from gateway.cli_shell import PROBLEM, FileOption, TenantOption, out, settings_of, tenant_of, told_plainly
from gateway.database import open_pool
from gateway.opening import open_database, open_keys
from gateway.settings import KeySettings, Settings
from kms.envelope import SUITES
from kms.keyring import Keyring, KeyringStatus
from kms.store import Store

app = typer.Typer(help="Encryption keys.", no_args_is_help=True)
cli_rotation.register(app)


@app.command("status")
def keys_status(tenant: TenantOption = "", config: FileOption = None) -> None:
    """Show the key provider and every key by id, age and purpose; never a secret."""
    with told_plainly():
        settings = settings_of(config)
        name = tenant_of(settings, tenant)
        database = open_database(settings)
        try:
            status, sealed = asyncio.run(_key_status(settings, name, database.dsn))
        finally:
            database.close()
    out.print(f"provider {status.provider}: {status.message or 'can be used'}", markup=False)
    _print_suites(settings.keys_of(name), sealed)
    table = Table("key", "scope", "purpose", "age", "state", box=None)
    for key in status.keys:
        table.add_row(
            key.id, key.scope, key.purpose, f"{key.age_s / 86400:.1f} d", "retired" if key.retired else "live"
        )
    out.print(table)
    if status.problem:
        raise typer.Exit(PROBLEM)


def _print_suites(keys: KeySettings, sealed: Mapping[int, int]) -> None:
    """What seals new values, what the stored ones were sealed with, and the switch nobody should need."""
    committed = ", each with a commitment to its key" if keys.commitment else ""
    out.print(f"new values: {keys.suite}{committed}", markup=False)
    total = sum(sealed.values())
    for number, count in sorted(sealed.items()):
        name = SUITES[number].name if number in SUITES else f"unknown (0x{number:02x})"
        out.print(f"stored values: {count} of {total} {name}", markup=False)
    if keys.legacy_3des:
        out.print("legacy_3des is on: 3DES may encrypt although it is retired; set it to false", style="yellow")


async def _key_status(settings: Settings, tenant: str, dsn: str) -> tuple[KeyringStatus, dict[int, int]]:
    pool = await open_pool(dsn, max_size=2)
    keyring = Keyring(open_keys(settings), Store(pool), clock=time.monotonic)
    try:
        return await keyring.status(tenant), await Store(pool).suites(tenant)
    finally:
        await keyring.close()
        await pool.close()
