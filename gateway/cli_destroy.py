"""`crmgate keys destroy`: one person asks, another approves, and after a wait the keys are destroyed.

Both identify with login, password and a code of their authenticator app, typed at the terminal and never given on the
command line. Every step is in the audit trail; at the end there is a signed record.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from audit.note import NoteInvalid, read_signer
from gateway.access.password_check import PasswordCheckUnavailable
from gateway.access.sign_in import Attempt, PasswordExpired
from gateway.access.throttle import Locked
from gateway.accounts import utc_now
from gateway.cli_installed import installed
from gateway.cli_shell import PROBLEM, FileOption, TenantOption, out, quit_with
from gateway.cli_words import say
from gateway.destroying import Destroying
from gateway.key_custody import open_destroying
from gateway.key_step import Credentials, NotAllowed, record_name
from gateway.settings import Settings
from kms.custody import CustodyRefused
from kms.destruction import WHOLE_TENANT, Destruction, DestructionRefused, State
from kms.destruction_store import DestructionStore

app = typer.Typer(help="Destroy keys: two people, a waiting period, a signed record.", no_args_is_help=True)

TokenOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file", help="OpenBao, Vault: an operator's token for this command instead of crmgate's login."
    ),
]
Login = Annotated[str, typer.Option("--login", prompt="Login", help="Who takes this step.")]
Number = Annotated[str, typer.Argument(help="The id that `request` printed.")]
_AS_WHAT = "the whole CRM"


@app.command("request")
def request(
    login: Login,
    scope: Annotated[
        str, typer.Option("--field", help="Destroy the keys of this kind of field, for example phone.")
    ] = "",
    whole: Annotated[bool, typer.Option("--all", help="Destroy the key of the whole CRM.")] = False,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Ask for the destruction of keys; somebody else has to approve."""
    if bool(scope) == whole:
        raise quit_with(2, "Say either --field KIND or --all.")
    given = credentials(login)

    async def work(at: Desk) -> None:
        made = await at.destroying.request(scope, given)
        out.print(f"{made.id}: the destruction of {scope or _AS_WHAT} is requested.", markup=False)
        out.print(f"Somebody else approves it with: crmgate keys destroy approve {made.id}", markup=False)

    _run(config, tenant, None, work)


@app.command("approve")
def approve(
    number: Number, login: Login, token_file: TokenOption = None, tenant: TenantOption = "", config: FileOption = None
) -> None:
    """Approve what somebody else has asked for; the wait begins."""
    given = credentials(login)

    async def work(at: Desk) -> None:
        found = await at.destroying.approve(number, given)
        assert found.due_at is not None
        out.print(f"{found.id}: approved. It may be executed from {found.due_at:%Y-%m-%d %H:%M} UTC on:", markup=False)
        out.print("  crmgate keys destroy run")
        out.print(f"Until then it can be taken back with: crmgate keys destroy cancel {found.id}", markup=False)
        if found.scope == WHOLE_TENANT:
            aside = "is set aside now" if found.suspended else "stays in use until then: the server cannot set it aside"
            out.print(f"The key of this CRM {aside}.", markup=False)

    _run(config, tenant, token_file, work)


@app.command("cancel")
def cancel(
    number: Number, login: Login, token_file: TokenOption = None, tenant: TenantOption = "", config: FileOption = None
) -> None:
    """Take a destruction back before it is executed."""
    given = credentials(login)

    async def work(at: Desk) -> None:
        found = await at.destroying.cancel(number, given)
        out.print(f"{found.id}: cancelled; nothing was destroyed.", markup=False)

    _run(config, tenant, token_file, work)


@app.command("run")
def run(token_file: TokenOption = None, tenant: TenantOption = "", config: FileOption = None) -> None:
    """Execute every approved destruction whose wait is over; may be repeated after a failure."""

    async def work(at: Desk) -> None:
        due = await at.store.due(at.tenant, utc_now())
        for number in due:
            done = await at.destroying.execute(number)
            out.print(f"{done.id}: destroyed. The signed record: crmgate keys destroy record {done.id}", markup=False)
        if not due:
            out.print("Nothing is due.")

    _run(config, tenant, token_file, work)


@app.command("list")
def list_all(tenant: TenantOption = "", config: FileOption = None) -> None:
    """Show every destruction and where it stands."""

    async def work(at: Desk) -> None:
        table = Table("id", "what", "state", "requested", "approved", "may run from", box=None)
        for one in await at.store.every(at.tenant):
            table.add_row(one.id, one.scope or _AS_WHAT, one.state, one.requested_by.login, _login(one), _time(one))
        out.print(table)

    _run(config, tenant, None, work)


@app.command("record")
def record(number: Number, tenant: TenantOption = "", config: FileOption = None) -> None:
    """Print the signed record of a destruction after checking its signature; exit code 1 when it is not whole."""

    async def work(at: Desk) -> None:
        found = await at.store.find(at.tenant, number)
        if found is None or found.state is not State.DESTROYED:
            raise DestructionRefused("destruction-state", f"there is no record of {number}: nothing was destroyed")
        print_signed(at.settings, at.tenant, "record", found.record)

    _run(config, tenant, None, work)


def _login(one: Destruction) -> str:
    return "" if one.approved_by is None else one.approved_by.login


def _time(one: Destruction) -> str:
    return "" if one.due_at is None else f"{one.due_at:%Y-%m-%d %H:%M}"


def print_signed(settings: Settings, tenant: str, what: str, text: str) -> None:
    """Print a signed text after checking its signature; ends the command when it is not whole."""
    verifier, name = read_signer(settings.checkpoint_key_path).verifier, record_name(tenant)
    try:
        verifier.open(text, name)
    except NoteInvalid as fault:
        raise quit_with(PROBLEM, f"The stored {what} was changed: {fault}") from None
    out.print(text, markup=False, end="")
    out.print(f"\nSigned by {verifier.vkey(name)}", markup=False)


def credentials(login: str) -> Credentials:
    """Ask for password and code at the terminal."""
    password = typer.prompt(say("Password"), hide_input=True)
    return Credentials(login, password, typer.prompt(say("Code of the authenticator app")))


@dataclass(frozen=True, slots=True)
class Desk:
    """What a command works with."""

    settings: Settings
    tenant: str
    destroying: Destroying
    store: DestructionStore


Work = Callable[[Desk], Awaitable[None]]


def _run(config: Path | None, tenant: str, token_file: Path | None, work: Work) -> None:
    with installed(config, tenant) as at:
        try:
            asyncio.run(_with_destroying(at.settings, at.tenant, at.dsn, token_file, work))
        except Attempt as attempt:
            raise quit_with(PROBLEM, said(attempt)) from None
        except (DestructionRefused, CustodyRefused, NotAllowed) as refused:
            raise quit_with(PROBLEM, f"Not done: {refused}.") from None


def said(attempt: Attempt) -> str:
    """Why somebody was not admitted, in words."""
    if isinstance(attempt.outcome, Locked):
        return say("Too many attempts; wait {wait} s.", wait=attempt.outcome.wait_s)
    if isinstance(attempt.outcome, PasswordExpired):
        return say("This password has expired. Sign in with a browser and choose a new one.")
    if isinstance(attempt.outcome, PasswordCheckUnavailable):
        return say("The company directory, which checks this password, cannot be asked: crmgate check says why.")
    return say("Login, password or code is not right, or no authenticator app is set up.")


async def _with_destroying(settings: Settings, tenant: str, dsn: str, token_file: Path | None, work: Work) -> None:
    async with open_destroying(settings, tenant, dsn, token_file) as (destroying, store):
        await work(Desk(settings, tenant, destroying, store))
