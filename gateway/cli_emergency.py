"""`crmgate break-glass`: a role for a few hours when there is no time to ask for it; an alarm goes out.

Whoever asks, agrees or ends says who they are with login, password and a code of the authenticator app.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from gateway.access.emergencies import REASONS, EmergencyRefused
from gateway.access.user import AppUser
from gateway.accounts import Accounts
from gateway.cli_accounts import By, proven, run_accounts
from gateway.cli_shell import PROBLEM, FileOption, TenantOption, out, quit_with
from gateway.settings import Settings

app = typer.Typer(help="Emergency roles (break-glass).", no_args_is_help=True)

OPERATION = "console.emergency"
REFUSED = "emergency.refused"
Name = Annotated[str, typer.Argument(help="The id that `crmgate break-glass list` shows.")]
_NOT_NOW = {
    "role-unknown": "the policy has no such role. / 策略中没有此角色。",
    "role-held": "this person has the role already. / 此人已拥有该角色。",
    "reason": f"--reason is one of {', '.join(REASONS)}. / --reason 须为其中之一。",
    "hours": "more hours than the settings allow (emergency_hours), or none. / 时长超出设置允许的范围。",
    "waiting": "this person has one that waits or is open. / 此人已有待生效或已生效的紧急角色。",
    "gone": "nothing like that waits or is open. / 没有这样的紧急角色。",
    "own": "nobody agrees to their own. / 任何人不得同意自己的申请。",
    "duties-joined": "the role would join the powers of more than one administrator in one account. / "
    "该角色会使一个账号同时拥有多个管理员的权限。",
}


@app.command("list")
def list_current(tenant: TenantOption = "", config: FileOption = None) -> None:
    """Show what waits and what is open."""

    async def work(accounts: Accounts, _: Settings) -> None:
        table = Table("id", "person", "role", "reason", "from", "until", "state", box=None)
        for one in await accounts.emergencies.current(accounts.tenant):
            state = "open" if one.open else "alarm"
            span = (f"{one.starts_at:%Y-%m-%d %H:%M}", f"{one.ends_at:%Y-%m-%d %H:%M}")
            table.add_row(one.id, one.login, one.role, one.reason, *span, state)
        out.print(table)

    _run(config, tenant, work)


@app.command()
def ask(
    role: Annotated[str, typer.Option("--role", help="The role that is needed now.")],
    hours: Annotated[float, typer.Option("--hours", help="For how long; at most emergency_hours.")],
    reason: Annotated[str, typer.Option("--reason", help=f"Why: {', '.join(REASONS)}.")],
    by: By = "",
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Raise the alarm and take a role: once a second person agrees, or after the delay."""

    async def work(accounts: Accounts, _: Settings) -> None:
        person = await _person(accounts, by, "create")
        lasts = timedelta(hours=hours) if 0 < hours <= 24 else timedelta(0)
        made = await accounts.emergencies.ask(person, role, lasts, reason, "command-line")
        out.print(f"The alarm is out. {role} opens at {made.starts_at:%H:%M} UTC by itself, or at once when another")
        out.print(f"person agrees, in the console or with: crmgate break-glass agree {made.id}", markup=False)
        out.print("crmgate sends no mail of its own: call somebody. / crmgate 自身不发送邮件：请直接联系相关人员。")

    _run(config, tenant, work)


@app.command()
def agree(name: Name, by: By = "", tenant: TenantOption = "", config: FileOption = None) -> None:
    """Agree to what somebody else asks for: it opens at once."""

    async def work(accounts: Accounts, _: Settings) -> None:
        person = await _person(accounts, by, "other")
        found = await accounts.emergencies.approve(accounts.tenant, name, person, "command-line")
        out.print(f"{found.login} has the role {found.role} now.", markup=False)

    _run(config, tenant, work)


@app.command()
def end(name: Name, by: By = "", tenant: TenantOption = "", config: FileOption = None) -> None:
    """End one before its time, or object to one that waits."""

    async def work(accounts: Accounts, _: Settings) -> None:
        person = await _person(accounts, by, "update")
        found = await accounts.emergencies.end(accounts.tenant, name, person, "command-line")
        out.print(f"The emergency role of {found.login} has ended.", markup=False)

    _run(config, tenant, work)


async def _person(accounts: Accounts, by: str, action: str) -> AppUser:
    login = by or await asyncio.to_thread(typer.prompt, "Login")
    return await proven(
        accounts,
        login,
        REFUSED,
        lambda user: accounts.policy.may(accounts.tenant, user.roles, OPERATION, action),
    )


def _run(config: Path | None, tenant: str, work: Callable[[Accounts, Settings], Awaitable[None]]) -> None:
    try:
        run_accounts(config, tenant, work)
    except EmergencyRefused as refused:
        raise quit_with(PROBLEM, f"Not done: {_NOT_NOW[refused.problem]}") from None
