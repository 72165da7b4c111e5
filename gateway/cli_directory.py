"""What the commands about people do with a directory: find somebody's id there, and link an account to it."""

from gateway.access.elsewhere import Elsewhere
from gateway.access.user import AppUser
from gateway.accounts import Accounts, utc_now
from gateway.cli_shell import PROBLEM, UNUSABLE, quit_with
from gateway.directory.check import open_directories
from gateway.directory.outcome import DirectoryRefused, DirectoryUnavailable
from gateway.settings import Settings

# Why nobody is found there → words.
_NOT_FOUND = {
    "directory-unknown": "nobody there has this login",
    "directory-ambiguous": "several entries there have this login: make the filter narrower",
    "directory-no-id": "the entry has no id, or the account crmgate looks people up with may not read it",
}
# Why it cannot be asked → words.
_UNAVAILABLE = {
    "unreachable": "no server answers",
    "tls": "TLS fails: certificate, CA, host name or version",
    "slow": "it takes longer than timeout_s",
    "nonsense": "what answers does not speak LDAP as it should",
    "busy": "it is too busy",
    "secret": "bind_secret_file cannot be read or is empty",
    "own-account": "it refuses bind_dn with the secret in bind_secret_file",
    "search": "the search fails: check base, filter and the rights of bind_dn",
}


async def look_up(settings: Settings, tenant: str, name: str, login: str) -> Elsewhere:
    """The identity of a login in a directory; ends the command with a sentence where there is none."""
    wanted = [one for one in settings.sign_in.directories if one.name == name]
    if not wanted or not wanted[0].serves(tenant):
        known = ", ".join(one.name for one in settings.sign_in.directories if one.serves(tenant)) or "none"
        raise quit_with(UNUSABLE, f"The settings name no directory {name} for {tenant}; known: {known}.")
    directory = open_directories(wanted)[name]
    try:
        return Elsewhere(directory.settings.issuer, await directory.look_up(login))
    except DirectoryRefused as refused:
        why = _NOT_FOUND.get(refused.reason, refused.reason)
        raise quit_with(PROBLEM, f"{login} is not found in {name}: {why}.") from None
    except DirectoryUnavailable as fault:
        why = _UNAVAILABLE.get(fault.reason, fault.reason)
        raise quit_with(PROBLEM, f"The directory {name} cannot be asked: {why}.") from None


async def link_to_directory(accounts: Accounts, user: AppUser, identity: Elsewhere, name: str) -> AppUser:
    """Link an account to its entry and forget crmgate's own password of it; the account as it is now.

    Raises LinkTaken.
    """
    await accounts.links.check_add(accounts.tenant, user.id, identity)
    await accounts.record("user.link", user.id, name)
    await accounts.links.add(accounts.tenant, user.id, identity, utc_now())
    await accounts.users.leave_password(user)
    return await accounts.users.get(accounts.tenant, user.id) or user
