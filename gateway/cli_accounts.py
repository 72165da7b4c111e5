"""What commands on accounts share: open accounts, who takes a step, and what is said when it is refused."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from gateway.access.elsewhere import LinkTaken
from gateway.access.password_check import PasswordCheckUnavailable
from gateway.access.passwords import PasswordRefused
from gateway.access.resets import ResetRefused
from gateway.access.role_changes import REASONS, RoleChangeRefused
from gateway.access.sign_in import Attempt, PasswordExpired
from gateway.access.store import LoginTaken
from gateway.access.totp import CodeWrong
from gateway.access.user import AppUser
from gateway.access.users import AccountRefused
from gateway.accounts import Accounts, open_accounts
from gateway.cli_installed import installed
from gateway.cli_shell import PROBLEM, quit_with
from gateway.identity.crm_login import CrmLoginInvalid
from gateway.settings import Settings

By = Annotated[str, typer.Option("--by", help="Login of the administrator who takes this step.")]

# Why an account is refused → words.
_NO_ACCOUNT = {
    "duties-joined": "Not done: these roles would join the powers of more than one administrator in one account. Give "
    "them to different accounts. / 未执行：这些角色会使一个账号同时拥有多个管理员的权限，请分给不同的账号。",
}
# Why rights are not asked for or agreed to → words.
_NOT_GIVEN = {
    "own-roles": "nobody gives rights to themselves. / 任何人不得为自己授权。",
    "change-waiting": "something waits for this account already. / 此账号已有待处理的申请。",
    "change-gone": "nothing like that waits. / 没有这样的待处理申请。",
    "change-same": "whoever asks does not agree. / 申请人不能自己同意。",
    "change-stale": "the account has other rights by now; ask anew. / 该账号的权限已有变化，请重新申请。",
    "change-reason": f"--reason is one of {', '.join(REASONS)}. / --reason 须为其中之一。",
    "change-not-set-up": "the person has not set up the account yet. / 此人尚未设置账号。",
    "change-asker": "whoever asked may not do so any more. / 申请人已无权申请。",
    "duties-joined": "these roles would join the powers of more than one administrator in one account. Give them to "
    "different accounts. / 这些角色会使一个账号同时拥有多个管理员的权限，请分给不同的账号。",
}
# Why a step of a reset is refused → words.
_NOT_NOW = {
    "own-account": "nobody does this to their own account",
    "reset-waiting": "a reset of this account waits already",
    "reset-gone": "no reset of this account waits",
    "reset-same": "whoever starts a reset does not approve it",
}


async def proven(
    accounts: Accounts,
    login: str,
    refused: str = "user.reset_refused",
    may: Callable[[AppUser], bool] | None = None,
) -> AppUser:
    """The administrator who takes this step, with password and code typed at the terminal.

    refused: the operation a refusal is on record as; may: whether somebody may take it (change accounts).
    """
    password = await asyncio.to_thread(typer.prompt, "Password", hide_input=True)
    code = await asyncio.to_thread(typer.prompt, "Code of the authenticator app")
    try:
        admin = await accounts.sign_in.prove(accounts.tenant, login, password, code, "command-line")
    except Attempt as attempt:
        await accounts.record(refused, "" if attempt.user is None else attempt.user.id)
        if isinstance(attempt.outcome, PasswordExpired):
            raise quit_with(PROBLEM, "Not done: this password has expired; sign in and choose a new one.") from None
        if isinstance(attempt.outcome, PasswordCheckUnavailable):
            raise quit_with(PROBLEM, "Not done: the company directory cannot be asked; see crmgate check.") from None
        raise quit_with(PROBLEM, "Not done: login, password or code is not right, or too many attempts.") from None
    if not (may or accounts.may_change)(admin):
        await accounts.record(refused, admin.id, by=admin)
        raise quit_with(PROBLEM, f"Not done: {admin.login} does not have the right to this step.")
    return admin


def run_accounts(config: Path | None, tenant: str, work: Callable[[Accounts, Settings], Awaitable[None]]) -> None:
    """Do some work on the accounts of one tenant; what refuses it is told in words."""
    with installed(config, tenant) as at:
        try:
            asyncio.run(with_accounts(at.settings, at.tenant, at.dsn, work))
        except LinkTaken:
            told = "Not linked: this identity is somebody's, or the account has one there, or is closed."
            raise quit_with(PROBLEM, told) from None
        except LoginTaken:
            raise quit_with(PROBLEM, "There is an account with this login already.") from None
        except AccountRefused as refused:
            told = _NO_ACCOUNT.get(refused.problem, f"The account cannot be made like this: {refused.problem}")
            raise quit_with(PROBLEM, told) from None
        except PasswordRefused as refused:
            raise quit_with(PROBLEM, f"This password cannot be used: {refused.problem}") from None
        except CrmLoginInvalid as invalid:
            raise quit_with(PROBLEM, f"This CRM login cannot be stored: {invalid.problem}") from None
        except ResetRefused as refused:
            raise quit_with(PROBLEM, f"Not done: {_NOT_NOW[refused.problem]}.") from None
        except RoleChangeRefused as refused:
            raise quit_with(PROBLEM, f"Not done: {_NOT_GIVEN[refused.problem]}") from None
        except CodeWrong:
            raise quit_with(PROBLEM, "The code is not right. Try again with: crmgate user reset-code") from None


async def with_accounts(
    settings: Settings, tenant: str, dsn: str, work: Callable[[Accounts, Settings], Awaitable[None]]
) -> None:
    """Do some work on the accounts of one tenant; raises what the work and `open_accounts` do."""
    async with open_accounts(settings, tenant, dsn) as accounts:
        await work(accounts, settings)
