"""`crmgate user`: accounts of people, made and changed at the machine itself.

Every change is written into the audit trail. A new account gets an invitation link, with which the person chooses a
password and enrols an authenticator app; with --here both happen at this terminal, for the first administrator.
"""

import asyncio
import io
from dataclasses import replace
from typing import Annotated

import segno
import typer
from rich.table import Table

from gateway import rights_desk
from gateway.access import totp
from gateway.access.account_pages import SET_UP_PATH
from gateway.access.elsewhere import DIRECTORY_ISSUER, Elsewhere, LinkTaken
from gateway.access.giving import Rights, rights_of
from gateway.access.place_store import PlaceStore
from gateway.access.role_changes import REASONS
from gateway.access.user import AppUser
from gateway.access.users import Profile
from gateway.accounts import Accounts, utc_now
from gateway.cli_accounts import By, proven, run_accounts
from gateway.cli_directory import link_to_directory, look_up
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
from gateway.entry import ListInvalid, written
from gateway.identity.config import IdentityMode
from gateway.identity.crm_login import checked
from gateway.settings import Settings
from policies.placement import DEPARTMENT, POSITION, PlacementInvalid, placement

app = typer.Typer(help="People who may sign in.", no_args_is_help=True)

Login = Annotated[str, typer.Argument(help="The name the person types at sign-in.")]
Roles = Annotated[list[str], typer.Option("--role", help="A role; repeat for several.")]
CrmUser = Annotated[
    str, typer.Option("--crm-user", help="The CRM's own key of this person, as record owners carry it.")
]
Reason = Annotated[str, typer.Option("--reason", help=f"Why, where two people give rights: {', '.join(REASONS)}.")]
Here = Annotated[bool, typer.Option("--here", help="Set password and authenticator app at this terminal, now.")]


@app.command()
def add(
    login: Login,
    role: Roles,
    name: Annotated[str, typer.Option(help="The person's name.")] = "",
    crm_user: CrmUser = "",
    directory: Annotated[
        str, typer.Option("--directory", help="Name of the [[sign_in.directory]] that checks the password.")
    ] = "",
    here: Here = False,
    by: By = "",
    reason: Reason = "new-person",
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Make an account and print its invitation link; its rights wait where two people give them."""

    async def work(accounts: Accounts, settings: Settings) -> None:
        profile = Profile(display_name=name, roles=tuple(role), crm_user=crm_user)
        after = Rights(tuple(sorted(set(role))), (), crm_user.strip())
        identity = await _new_identity(accounts, settings, directory, login, profile) if directory else None
        if await rights_desk.needs_two(accounts, "", gives=bool(after.everything or after.crm_user)):
            accounts.role_changes.check_wish(accounts.tenant, after, reason)
            admin = await _asking(accounts, by)
            user = await accounts.users.create(accounts.tenant, login, Profile(display_name=name))
            await accounts.record("user.add", user.id, by=admin)
            _told(await rights_desk.ask(accounts, user, after, admin, reason))
        else:
            user = await accounts.users.create(accounts.tenant, login, profile, alone=True)
            await accounts.record(_alone(accounts, "user.add"), user.id, ",".join(user.roles))
        if identity is not None:
            user = await link_to_directory(accounts, user, identity, directory)
        await _let_in(accounts, settings, user, here=here)

    run_accounts(config, tenant, work)


@app.command("list")
def list_users(tenant: TenantOption = "", config: FileOption = None) -> None:
    """Show every account."""

    async def work(accounts: Accounts, settings: Settings) -> None:
        invited = await accounts.users.invited(accounts.tenant)
        names = {issuer: name for name, issuer in settings.sign_in.issuers.items()}
        linked: dict[str, list[str]] = {}
        for one in await accounts.links.links(accounts.tenant):
            linked.setdefault(one.user_id, []).append(names.get(one.issuer, one.issuer))
        table = Table("login", "name", "roles", "CRM user", "state", *(["signs in by"] if linked else []), box=None)
        for user in await accounts.users.list(accounts.tenant):
            state = "disabled" if user.disabled else "active" if user.has_second_factor else "not set up"
            state += ", invited" if user.id in invited else ""
            ways = [", ".join(linked.get(user.id, []))] if linked else []
            table.add_row(user.login, user.display_name, ", ".join(user.roles), user.crm_user, state, *ways)
        out.print(table)

    run_accounts(config, tenant, work)


@app.command()
def disable(login: Login, tenant: TenantOption = "", config: FileOption = None) -> None:
    """Close an account; its sessions end at once."""

    async def work(accounts: Accounts, _: Settings) -> None:
        user = await _find(accounts, login)
        await accounts.users.disable(user)
        await accounts.record("user.disable", user.id)
        out.print(f"{user.login} is closed.", markup=False)

    run_accounts(config, tenant, work)


@app.command()
def enable(login: Login, tenant: TenantOption = "", config: FileOption = None) -> None:
    """Open a closed account again."""

    async def work(accounts: Accounts, _: Settings) -> None:
        user = await _find(accounts, login)
        await accounts.users.enable(user)
        await accounts.record("user.enable", user.id)
        out.print(f"{user.login} is open.", markup=False)

    run_accounts(config, tenant, work)


@app.command()
def roles(
    login: Login,
    role: Roles,
    crm_user: CrmUser = "",
    by: By = "",
    reason: Reason = "new-duty",
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Set the roles of an account (all of them); open sessions follow at once, or once a second person agreed."""

    async def work(accounts: Accounts, _: Settings) -> None:
        user = await _find(accounts, login)
        after = replace(rights_of(user), roles=tuple(sorted(set(role))), crm_user=(crm_user or user.crm_user).strip())
        if await _waits(accounts, user, after, by, reason):
            return
        profile = Profile(user.display_name, after.roles, after.crm_user, user.language)
        await accounts.users.change(user, profile, alone=True)
        await accounts.record(_alone(accounts, "user.roles"), user.id, ",".join(after.roles))
        out.print(f"{user.login}: {', '.join(sorted(set(role)))}", markup=False)

    run_accounts(config, tenant, work)


@app.command()
def networks(
    login: Login,
    network: Annotated[
        list[str] | None, typer.Option("--network", help="Where the person may come from; repeat for several.")
    ] = None,
    anywhere: Annotated[bool, typer.Option("--anywhere", help="Take the list away.")] = False,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Show or set from which networks a person may come in; open sessions follow at once."""
    try:
        wanted = written(network or ())
    except ListInvalid as invalid:
        raise quit_with(PROBLEM, f"This is no list of networks: {invalid.entry or 'too many'}") from None
    if wanted and anywhere:
        raise quit_with(PROBLEM, "Name networks or say --anywhere, not both.")

    async def work(accounts: Accounts, _: Settings) -> None:
        user, store = await _find(accounts, login), PlaceStore(accounts.pool)
        before = await store.networks(accounts.tenant, user.id) or ""
        if wanted or anywhere:
            change = difference({"networks": before.split()}, {"networks": wanted.split()})
            await accounts.record("user.networks", user.id, list(change))
            await store.set_networks(accounts.tenant, user.id, wanted)
            before = wanted
        out.print(f"{user.login}: {before.replace(' ', ', ') or 'from anywhere'}", markup=False)

    run_accounts(config, tenant, work)


@app.command()
def place(
    login: Login,
    department: Annotated[list[str], typer.Option("--department", help="Repeat for several.")] = [],  # noqa: B006
    position: Annotated[list[str], typer.Option("--position", help="Repeat for several.")] = [],  # noqa: B006
    by: By = "",
    reason: Reason = "new-duty",
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Set departments and positions of a person (all of them; none without options); open sessions follow at once."""
    given = [(DEPARTMENT, name) for name in department] + [(POSITION, name) for name in position]
    try:
        named = sorted({placement(kind, name) for kind, name in given})
    except PlacementInvalid as fault:
        raise quit_with(
            UNUSABLE, f"{fault} can be no department or position: letters, digits, _ . and -, at most 64."
        ) from None

    async def work(accounts: Accounts, _: Settings) -> None:
        user = await _find(accounts, login)
        if await _waits(accounts, user, replace(rights_of(user), placements=tuple(named)), by, reason):
            return
        await accounts.record(_alone(accounts, "user.place"), user.id, ",".join(named))
        await accounts.users.place(user, named, alone=True)
        out.print(f"{user.login}: {', '.join(named) or 'no department and no position'}", markup=False)
        for name in named:
            if name not in accounts.policy.named:
                out.print(f"The policy in force says nothing of {name}: nothing follows from it.", markup=False)

    run_accounts(config, tenant, work)


Provider = Annotated[str, typer.Option("--provider", help="Name of the [[sign_in.provider]] or [[sign_in.directory]].")]


@app.command()
def link(
    login: Login,
    provider: Provider,
    subject: Annotated[
        str,
        typer.Option("--subject", help="The person's stable id there (OpenID: sub); a directory is asked for it."),
    ] = "",
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Let a person sign in through another provider, or with a directory's password; the second factor stays ours."""

    async def work(accounts: Accounts, settings: Settings) -> None:
        issuer, user = _issuer(settings, provider), await _find(accounts, login)
        directory = provider in {one.name for one in settings.sign_in.directories}
        if directory == bool(subject):
            told = "A directory is asked for the id: leave --subject out." if directory else "--subject is missing."
            raise quit_with(UNUSABLE, told)
        if directory:
            identity = await look_up(settings, accounts.tenant, provider, user.login)
            await link_to_directory(accounts, user, identity, provider)
            out.print(f"The password of {user.login} is checked by {provider} from now on.", markup=False)
            return
        identity = Elsewhere(issuer, subject)
        await accounts.links.check_add(accounts.tenant, user.id, identity)
        await accounts.record("user.link", user.id, provider)
        await accounts.links.add(accounts.tenant, user.id, identity, utc_now())
        out.print(f"{user.login} may sign in through {provider}.", markup=False)

    run_accounts(config, tenant, work)


@app.command()
def unlink(login: Login, provider: Provider, tenant: TenantOption = "", config: FileOption = None) -> None:
    """Take a link to another provider away; the person's sessions end at once."""

    async def work(accounts: Accounts, settings: Settings) -> None:
        user = await _find(accounts, login)
        # A provider that left the settings has no name any more: then its issuer is named.
        issuer = settings.sign_in.issuers.get(provider, provider)
        if not any(one.issuer == issuer for one in await accounts.links.links(accounts.tenant, user.id)):
            raise quit_with(PROBLEM, f"{user.login} has no link to {provider}.")
        await accounts.record("user.unlink", user.id, provider)
        await accounts.links.remove(accounts.tenant, user.id, issuer)
        await accounts.users.end_sessions(user, "unlinked")
        out.print(f"{user.login} signs in through {provider} no more.", markup=False)
        if user.directory == issuer.removeprefix(DIRECTORY_ISSUER):
            out.print(f"There is no password now: crmgate user reset-code {user.login}", markup=False)

    run_accounts(config, tenant, work)


def _issuer(settings: Settings, provider: str) -> str:
    issuers = settings.sign_in.issuers
    if provider not in issuers:
        known = ", ".join(issuers) or "none"
        raise quit_with(UNUSABLE, f"The settings name no provider {provider}; known: {known}.")
    return issuers[provider]


@app.command("crm-login")
def crm_login(
    login: Login,
    crm: Annotated[str, typer.Option("--crm", help="The name the CRM knows the person by; asked when left out.")] = "",
    remove: Annotated[bool, typer.Option("--remove", help="Forget what is stored.")] = False,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Store a person's CRM login; where crmgate signs people in (mode = "stored") its password is asked, too."""

    async def work(accounts: Accounts, settings: Settings) -> None:
        user = await _find(accounts, login)
        kept = logins_of(settings, accounts.pool, accounts.keyring)
        if remove:
            await accounts.record("user.crm_login_forgotten", user.id)
            await kept.forget(accounts.tenant, user.id)
            await accounts.users.end_sessions(user, "crm-login-changed")
            out.print(f"The CRM login of {user.login} is deleted.", markup=False)
            return
        stored = settings.identity_of(accounts.tenant).mode is IdentityMode.STORED
        name = crm or await asyncio.to_thread(typer.prompt, "CRM login")
        secret = None
        if stored:
            secret = await asyncio.to_thread(typer.prompt, "CRM password", hide_input=True, confirmation_prompt=True)
        checked(name, secret)
        await accounts.record("user.crm_login", user.id)
        await kept.keep(accounts.tenant, user.id, name, secret, "command-line", utc_now())
        await accounts.users.end_sessions(user, "crm-login-changed")
        out.print(f"The CRM login of {user.login} is stored; open sessions have ended.", markup=False)

    run_accounts(config, tenant, work)


@app.command("reset-code")
def reset_code(
    login: Login, by: By = "", here: Here = False, tenant: TenantOption = "", config: FileOption = None
) -> None:
    """Start the reset of an account's password and second factor; another administrator approves it.

    Where fewer than two other administrators could do that, it is done at once by whoever has this machine.
    """

    async def work(accounts: Accounts, settings: Settings) -> None:
        user = await _find(accounts, login)
        if by:
            admin = await proven(accounts, by)
            await accounts.resets.check_start(user, admin.id)
            await accounts.record("user.reset_started", user.id, by=admin)
            await accounts.resets.start(user, admin.id)
            out.print("Another administrator approves it within a day, in the console or with:")
            out.print(f"  crmgate user approve-reset {user.login} --by LOGIN", markup=False)
            return
        others = [one for one in await accounts.users.list(accounts.tenant) if one.id != user.id]
        able = [one for one in others if _can_sign_in(one) and accounts.may_change(one)]
        if len(able) >= 2:
            raise quit_with(PROBLEM, "Two administrators have to agree: start it with --by LOGIN.")
        await accounts.record("user.reset_alone", user.id)
        await accounts.users.reset(user, "command-line")
        await _let_in(accounts, settings, user, here=here)

    run_accounts(config, tenant, work)


@app.command("approve-reset")
def approve_reset(
    login: Login, by: By = "", here: Here = False, tenant: TenantOption = "", config: FileOption = None
) -> None:
    """Approve a reset that another administrator has started, and print the invitation link."""

    async def work(accounts: Accounts, settings: Settings) -> None:
        user = await _find(accounts, login)
        second = by or await asyncio.to_thread(typer.prompt, "Login")
        admin = await proven(accounts, second, may=lambda one: accounts.may_change(one) or accounts.may_agree(one))
        waiting = await accounts.resets.check_approval(user, admin.id)
        await accounts.record("user.reset", user.id, waiting.started_by, by=admin)
        await accounts.resets.approve(user, admin.id)
        await _let_in(accounts, settings, user, here=here)

    run_accounts(config, tenant, work)


def _can_sign_in(user: AppUser) -> bool:
    return not user.disabled and user.ready


async def _asking(accounts: Accounts, by: str) -> AppUser:
    """Who asks for rights, where two people give them."""
    if not by:
        raise quit_with(
            PROBLEM,
            "Two people give rights here: say who asks with --by LOGIN, and another one agrees."
            " / 此处须由两人授权：用 --by LOGIN 说明申请人，再由另一人同意。",
        )
    return await proven(accounts, by, "user.rights_refused")


async def _waits(accounts: Accounts, user: AppUser, after: Rights, by: str, reason: str) -> bool:
    """Whether rights wait for a second person now, who asked having said who they are."""
    gives = accounts.role_changes.needs_second(user, after)
    if not await rights_desk.needs_two(accounts, user.id, gives=gives):
        return False
    admin = await _asking(accounts, by)
    _told(await rights_desk.ask(accounts, user, after, admin, reason))
    return True


def _told(name: str) -> None:
    out.print("Nothing has changed yet. Another person agrees within three days, in the console or with:")
    out.print(f"  crmgate rights agree {name} --by LOGIN", markup=False)


def _alone(accounts: Accounts, operation: str) -> str:
    """The operation as it is on record: loud where two people would have been asked for, had there been two."""
    return f"{operation}_alone" if accounts.role_changes.giving.two_people else operation


async def _let_in(accounts: Accounts, settings: Settings, user: AppUser, *, here: bool) -> None:
    """Print the invitation link, or take the invitation up at this terminal."""
    token, until = await accounts.users.invite(user, "command-line")
    if not here:
        url = settings.tenants[accounts.tenant].public_url.rstrip("/")
        both = "" if user.directory else "choose a password and "
        out.print(f"{user.login} may {both}set up an authenticator app here, once,")
        out.print(f"until {until:%Y-%m-%d %H:%M} UTC:")
        out.print(f"  {url}{SET_UP_PATH}?token={token}", markup=False)
        return
    invitation = await accounts.users.invitation(accounts.tenant, token)
    show_secret(invitation.secret, user.login, accounts.users.issuer)
    password = ""
    if not user.directory:
        password = await asyncio.to_thread(typer.prompt, "New password", hide_input=True, confirmation_prompt=True)
    code = await asyncio.to_thread(typer.prompt, "Code of the authenticator app")
    await accounts.users.accept(accounts.tenant, token, password, code)
    await accounts.record("user.recovery_codes", user.id)
    out.print("Recovery codes, each for one sign-in without the phone; shown only now:")
    for recovery_code in await accounts.recovery.renew(accounts.tenant, user.id):
        out.print(f"  {recovery_code}", markup=False, highlight=False)
    out.print(f"{user.login} can sign in now.", markup=False)


def show_secret(secret: str, login: str, issuer: str) -> None:
    """Print a second-factor secret as text and as a QR code for the terminal."""
    drawn = io.StringIO()
    segno.make(totp.enrolment_uri(secret, login, issuer), error="m").terminal(out=drawn, compact=True)
    out.print(f"Secret for the authenticator app: {totp.grouped(secret)}", markup=False)
    out.print(drawn.getvalue(), markup=False)


async def _find(accounts: Accounts, login: str) -> AppUser:
    user = await accounts.users.by_login(accounts.tenant, login)
    if user is None:
        raise quit_with(PROBLEM, f"There is no account {login}.")
    return user


async def _new_identity(
    accounts: Accounts, settings: Settings, directory: str, login: str, profile: Profile
) -> Elsewhere:
    """Who a directory says somebody is whose account is yet to be made; raises LinkTaken."""
    await accounts.users.check_new(accounts.tenant, login, profile)
    identity = await look_up(settings, accounts.tenant, directory, login.strip())
    if await accounts.links.owner(accounts.tenant, identity) is not None:
        raise LinkTaken
    return identity
