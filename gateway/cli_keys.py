"""`crmgate keys`: what keys there are, where they come from, and what an operator does to them.

Shows ids, ages and states, never a secret.
"""

import asyncio
import contextlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from gateway import cli_destroy, cli_person, cli_rotation
from gateway.cli_installed import installed
from gateway.cli_shell import (
    PROBLEM,
    UNUSABLE,
    FileOption,
    TenantOption,
    out,
    quit_with,
    settings_of,
    tenant_of,
    told_plainly,
)
from gateway.database import open_pool
from gateway.key_config import KeySettings
from gateway.key_custody import open_custody
from gateway.opening import open_database, open_keyring
from gateway.person_keys import open_persons
from gateway.settings import Settings
from kms.custody import CustodyRefused, RootKey, RootState, read_key
from kms.envelope import SUITES
from kms.keyring import KeyringStatus
from kms.person import EpochState
from kms.persons import Persons
from kms.provider import KeysUnavailable
from kms.store import Store
from kms.vault import TransitProvider
from kms.vault_login import LoginStatus

app = typer.Typer(help="Encryption keys.", no_args_is_help=True)
app.add_typer(cli_destroy.app, name="destroy")
app.add_typer(cli_person.app, name="person")
cli_rotation.register(app)

_KEY_FILE_LIMIT = 4096


@app.command("status")
def keys_status(tenant: TenantOption = "", config: FileOption = None) -> None:
    """Show provider, login, key versions and every field key by id, age and purpose; never a secret.

    Of every CRM in the settings unless one is named. Exit code 1 when a provider cannot be used.
    """
    with told_plainly():
        settings = settings_of(config)
        names = [tenant_of(settings, tenant)] if tenant else list(settings.tenants)
        with contextlib.closing(open_database(settings)) as database:
            found = asyncio.run(_key_status(settings, names, database.dsn))
    for name, one in found.items():
        _show(name, one, settings.keys_of(name))
    if any(one.status.problem for one in found.values()):
        raise typer.Exit(PROBLEM)


@dataclass(frozen=True, slots=True)
class Found:
    """What there is of one CRM; sealed: number of the suite → stored values; persons: of data subjects' keys."""

    status: KeyringStatus
    root: RootKey | None
    login: LoginStatus | None
    sealed: Mapping[int, int]
    persons: str


def _show(tenant: str, found: Found, keys: KeySettings) -> None:
    status, root, login = found.status, found.root, found.login
    out.print(f"{tenant}: provider {status.provider}: {status.message or 'can be used'}", markup=False)
    if login is not None:
        left = "does not end" if login.left_s is None else f"ends in {login.left_s:.0f} s without renewal"
        renewal = "renewable" if login.renewable else "not renewable"
        out.print(f"  login by {login.method}; the token {left}, {renewal}", markup=False)
    if root is not None and root.state is RootState.ABSENT:
        out.print(f"  key {root.name}: not there yet; it is made at first use", markup=False)
    elif root is not None:
        versions = (
            f"versions {root.oldest} to {root.newest}" if root.oldest != root.newest else f"version {root.newest}"
        )
        derived = "" if root.derived or status.provider == "local" else ", not derived"
        out.print(f"  key {root.name}: {root.state}, {versions}, {_ORIGINS[root.origin]}{derived}", markup=False)
    _print_suites(keys, found.sealed)
    out.print(f"keys of data subjects: {found.persons}", markup=False)
    table = Table("key", "scope", "purpose", "age", "state", box=None)
    for key in status.keys:
        state = "destroyed" if key.destroyed else "retired" if key.retired else "live"
        table.add_row(key.id, key.scope, key.purpose, f"{key.age_s / 86400:.1f} d", state)
    out.print(table)


_ORIGINS = {
    "server": "made by the server",
    "imported": "imported",
    "owner": "kept by its owner",
    "local": "in this file",
}


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


async def _key_status(settings: Settings, tenants: list[str], dsn: str) -> dict[str, Found]:
    pool = await open_pool(dsn, max_size=2)
    keyring = open_keyring(settings, pool)
    persons = open_persons(settings)
    found: dict[str, Found] = {}
    try:
        for tenant in tenants:
            status = await keyring.status(tenant)
            login, root = None, None
            provider, custody = open_custody(settings, tenant)
            with contextlib.suppress(KeysUnavailable):  # `status` has the reason
                root = await custody.describe(tenant)
            if isinstance(provider, TransitProvider) and root is not None:
                login = provider.login_status()
            await provider.close()
            persons_state = await _persons_state(persons, tenant)
            found[tenant] = Found(status, root, login, await Store(pool).suites(tenant), persons_state)
    finally:
        await persons.close()
        await keyring.close()
        await pool.close()
    return found


async def _persons_state(persons: Persons, tenant: str) -> str:
    """What there is of them, in words; a store that does not answer is told instead of raised."""
    try:
        counts, epochs = await persons.store.counts(tenant), await persons.store.epochs(tenant)
    except KeysUnavailable as fault:
        return str(fault)
    current = next((str(one.number) for one in epochs if one.state is EpochState.CURRENT), "none yet")
    return f"{counts.keys} in their store, epoch {current}; {counts.erased} erased"


@app.command("import")
def keys_import(
    file: Annotated[Path, typer.Option("--file", help="The key: 32 bytes, 64 hexadecimal digits, or base64.")],
    rotatable: Annotated[
        bool, typer.Option("--rotatable", help="Let the server add versions later; then none can be imported any more.")
    ] = False,
    token_file: cli_destroy.TokenOption = None,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Make a customer's own AES-256 key the key of a CRM, or the next version of an imported one (OpenBao, Vault).

    Before the CRM is used for the first time: what the server has made itself cannot be replaced.
    """
    with installed(config, tenant) as at:
        try:
            key = read_key(_key_file(file))
            made = asyncio.run(_import(at.settings, at.tenant, key, token_file, rotatable=rotatable))
        except CustodyRefused as refused:
            raise quit_with(PROBLEM, str(refused)) from None
    out.print(f"{made.name} has version {made.newest} now, imported.", markup=False)
    out.print("Keep the key at its owner's; remove the file here when you no longer need it.")


async def _import(settings: Settings, tenant: str, key: bytes, token_file: Path | None, *, rotatable: bool) -> RootKey:
    provider, custody = open_custody(settings, tenant, token_file)
    try:
        return await custody.import_key(tenant, key, rotatable=rotatable)
    finally:
        await provider.close()


def _key_file(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            data = opened.read(_KEY_FILE_LIMIT)
    except OSError as fault:
        raise quit_with(UNUSABLE, f"The key file cannot be read: {fault.strerror}.") from None
    if mode & 0o077:
        raise quit_with(UNUSABLE, f"Others can read the key file; run: chmod 600 {file}")
    return data
