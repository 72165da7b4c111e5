"""`crmgate client`: programs that come in with a credential of crmgate instead of a session.

The token is shown once. The login that stands for the program at the CRM is asked for, never taken from the command
line. Every change is in the audit trail.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from gateway.accounts import Accounts, utc_now
from gateway.cli_accounts import with_accounts
from gateway.cli_installed import installed
from gateway.cli_shell import (
    PROBLEM,
    UNUSABLE,
    FileOption,
    TenantOption,
    out,
    quit_with,
)
from gateway.composition_identity import logins_of
from gateway.difference import difference
from gateway.identity.api_client import FIELD, ApiClients, Change, ClientInvalid, Wish, check_wish
from gateway.identity.crm_login import CrmLoginInvalid, checked
from gateway.identity.store import ClientRow, IdentityStore, NameTaken
from gateway.settings import Settings

app = typer.Typer(help="Programs that may come in.", no_args_is_help=True)
DAYS = 90

Name = Annotated[str, typer.Argument(help="A name for the program, as the audit trail has it.")]


@app.command()
def add(
    name: Name,
    role: Annotated[list[str], typer.Option("--role", help="A role; repeat for several.")],
    network: Annotated[
        list[str] | None, typer.Option("--network", help="Where it comes from (10.1.0.0/16); repeat for several.")
    ] = None,
    certificate: Annotated[
        str, typer.Option(help="SHA-256 of the certificate it has to show (gateway.client_ca), in hexadecimal.")
    ] = "",
    days: Annotated[int, typer.Option(min=1, help="Days until it ends.")] = DAYS,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Make a credential for a program; asks for the login or token that stands for it at the CRM."""
    try:
        networks = tuple(ip_network(one) for one in network or ())
    except ValueError as fault:
        raise quit_with(UNUSABLE, f"--network: {fault}") from None

    async def work(accounts: Accounts, settings: Settings) -> None:
        now = utc_now()
        if certificate and settings.gateway.client_ca is None:
            raise quit_with(UNUSABLE, "No certificate can be shown before [gateway] client_ca names its CA.")
        login = await asyncio.to_thread(typer.prompt, "CRM login of the program")
        secret = await asyncio.to_thread(typer.prompt, "CRM password or token", hide_input=True)
        shown = certificate.replace(":", "").lower()
        wish = Wish(name, tuple(role), networks, shown, now + timedelta(days=days))
        check_wish(wish, accounts.users.roles, now)
        checked(login, secret)
        await accounts.record("client.add", name, ",".join(role))
        made, token = await _clients(accounts, settings).add(
            accounts.tenant, wish, accounts.users.roles, login, secret, now
        )
        out.print(f"{made.name} ({made.id}) is good until {made.expires_at:%Y-%m-%d %H:%M} UTC. Its token, shown once:")
        out.print(f"  {token}", markup=False)
        out.print(f"Sent as  Authorization: Bearer …  or  {FIELD}: …", markup=False)
        if not settings.identity_of(accounts.tenant).api_clients:
            out.print(f"Nothing may come in with it before [tenant.{accounts.tenant}.identity] api_clients = true.")

    _run(config, tenant, work)


@app.command("list")
def list_clients(tenant: TenantOption = "", config: FileOption = None) -> None:
    """Show every program."""

    async def work(accounts: Accounts, settings: Settings) -> None:
        now = utc_now()
        table = Table(box=None)
        for title in ("name", "roles", "networks", "until", "last used", "state", "certificate", "id"):
            # Nothing is cut short: a network or a date that lacks its end says something else.
            table.add_column(title, overflow="fold", no_wrap=title in ("networks", "until"))
        for row in await _clients(accounts, settings).list(accounts.tenant):
            state = "revoked" if row.revoked_at else "ended" if row.expires_at <= now else "good"
            shown = f"{row.certificate[:12]}…" if row.certificate else ""
            until = f"{row.expires_at:%Y-%m-%d}"
            used = f"{row.last_used_at:%Y-%m-%d %H:%M} {row.last_used_from}" if row.last_used_at else "never"
            roles, networks = "\n".join(row.roles), "\n".join(row.networks)
            table.add_row(row.name, roles, networks, until, used, state, shown, row.id)
        out.print(table)

    _run(config, tenant, work)


@app.command("set")
def change(
    name: Name,
    role: Annotated[list[str] | None, typer.Option("--role", help="Its roles from now on; repeat for several.")] = None,
    network: Annotated[
        list[str] | None, typer.Option("--network", help="Where it comes from from now on; repeat for several.")
    ] = None,
    anywhere: Annotated[
        bool, typer.Option("--anywhere", help="Take its networks away; it needs a certificate.")
    ] = False,
    certificate: Annotated[
        str | None, typer.Option(help='SHA-256 of the certificate it has to show from now on; "" for none.')
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Days from now until it ends.")] = None,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Change what a program may do, from where and until when; its token stays, running gateways know in seconds."""
    try:
        networks = tuple(ip_network(one) for one in network or ())
    except ValueError as fault:
        raise quit_with(UNUSABLE, f"--network: {fault}") from None
    if networks and anywhere:
        raise quit_with(UNUSABLE, "Name networks or say --anywhere, not both.")

    async def work(accounts: Accounts, settings: Settings) -> None:
        now, clients, known = utc_now(), _clients(accounts, settings), accounts.users.roles
        if certificate and settings.gateway.client_ca is None:
            raise quit_with(UNUSABLE, "No certificate can be shown before [gateway] client_ca names its CA.")
        wanted = Change(
            roles=tuple(role) if role else None,
            networks=networks if networks or anywhere else None,
            certificate=None if certificate is None else certificate.replace(":", "").lower(),
            expires_at=None if days is None else now + timedelta(days=days),
        )
        if wanted == Change():
            raise quit_with(UNUSABLE, "Say what is to change: --role, --network, --anywhere, --certificate or --days.")
        planned = await clients.changed(accounts.tenant, name, wanted, known, now)
        if planned is not None:
            await accounts.record("client.set", name, list(_differences(*planned)))
            planned = await clients.change(accounts.tenant, name, wanted, known, now)
        if planned is None:
            raise quit_with(PROBLEM, f"There is no program {name} with a good credential.")
        for line in _differences(*planned) or ("nothing is different",):
            out.print(f"{name}: {line}", markup=False)

    _run(config, tenant, work)


def _differences(before: ClientRow, after: ClientRow) -> tuple[str, ...]:
    """What a change makes different, as the trail has it."""
    return difference(_named(before), _named(after))


def _named(row: ClientRow) -> Mapping[str, object]:
    return {
        "roles": row.roles,
        "networks": row.networks,
        "certificate": row.certificate[:12],
        "until": f"{row.expires_at:%Y-%m-%dT%H:%MZ}",
    }


@app.command()
def revoke(name: Name, tenant: TenantOption = "", config: FileOption = None) -> None:
    """End the credential of a program for good; running gateways know within seconds."""

    async def work(accounts: Accounts, settings: Settings) -> None:
        await accounts.record("client.revoke", name)
        if await _clients(accounts, settings).revoke(accounts.tenant, name, utc_now()) is None:
            raise quit_with(PROBLEM, f"There is no program {name} with a good credential.")
        out.print(f"{name} is revoked.", markup=False)

    _run(config, tenant, work)


def _clients(accounts: Accounts, settings: Settings) -> ApiClients:
    logins = logins_of(settings, accounts.pool, accounts.keyring)
    return ApiClients(IdentityStore(accounts.pool), logins, secrets.token_bytes)


def _run(config: Path | None, tenant: str, work: Callable[[Accounts, Settings], Awaitable[None]]) -> None:
    with installed(config, tenant) as at:
        try:
            asyncio.run(with_accounts(at.settings, at.tenant, at.dsn, work))
        except NameTaken:
            raise quit_with(PROBLEM, "There is a program with this name already; revoke it first.") from None
        except ClientInvalid as invalid:
            raise quit_with(UNUSABLE, f"The program cannot be made like this: {invalid}") from None
        except CrmLoginInvalid as invalid:
            raise quit_with(UNUSABLE, f"This CRM login cannot be stored: {invalid.problem}") from None
