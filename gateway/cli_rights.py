"""`crmgate rights`: rights that wait for a second person, where the settings ask for two."""

import asyncio
from typing import Annotated

import typer
from rich.table import Table

from gateway import rights_desk
from gateway.access.giving import rights_changed
from gateway.accounts import Accounts
from gateway.cli_accounts import By, proven, run_accounts
from gateway.cli_shell import FileOption, TenantOption, out
from gateway.settings import Settings

app = typer.Typer(help="Rights that wait for a second person.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The id that `crmgate rights list` shows.")]


@app.command("list")
def list_waiting(tenant: TenantOption = "", config: FileOption = None) -> None:
    """Show what waits: for whom, what comes (+) and goes (-), who asked, until when."""

    async def work(accounts: Accounts, _: Settings) -> None:
        table = Table("id", "for", "change", "reason", "asked by", "until", box=None)
        for one in await accounts.role_changes.waiting(accounts.tenant):
            change = "\n".join(rights_changed(one.before, one.after))
            table.add_row(one.id, one.login, change, one.reason, one.asked_login, f"{one.expires_at:%Y-%m-%d %H:%M}")
        out.print(table)

    run_accounts(config, tenant, work)


@app.command()
def agree(name: Name, by: By = "", tenant: TenantOption = "", config: FileOption = None) -> None:
    """Agree to rights that somebody else asked for, for a third person."""

    async def work(accounts: Accounts, _: Settings) -> None:
        admin = await proven(accounts, await _login(by), "user.rights_refused", accounts.may_agree)
        found = await rights_desk.agree(accounts, name, admin)
        out.print(f"{found.login}: {', '.join(sorted(found.after.everything)) or 'no role'}", markup=False)

    run_accounts(config, tenant, work)


@app.command()
def withdraw(name: Name, by: By = "", tenant: TenantOption = "", config: FileOption = None) -> None:
    """Take back what waits."""

    async def work(accounts: Accounts, _: Settings) -> None:
        admin = await proven(
            accounts,
            await _login(by),
            "user.rights_refused",
            lambda user: accounts.may_change(user) or accounts.may_agree(user),
        )
        await rights_desk.withdraw(accounts, name, admin)
        out.print(f"{name} is withdrawn; nothing has changed.", markup=False)

    run_accounts(config, tenant, work)


async def _login(by: str) -> str:
    return by or await asyncio.to_thread(typer.prompt, "Login")
