"""Rights of accounts at the machine itself, where two people give them: who takes the steps, and what is on record."""

from gateway.access.giving import Rights, rights_changed, rights_of
from gateway.access.role_change_store import RoleChange
from gateway.access.user import AppUser
from gateway.accounts import Accounts


async def needs_two(accounts: Accounts, user_id: str, *, gives: bool = True) -> bool:
    """Whether two people have to give rights to this account ("": a new one).

    Not before there are two who can: an open account that may ask and another that may agree, beside the one that gets
    them. Until then whoever has the machine makes the first ones; that is on record as `…_alone`.
    """
    if not gives or not accounts.role_changes.giving.two_people:
        return False
    ready = [
        one
        for one in await accounts.users.list(accounts.tenant)
        if one.id != user_id and not one.disabled and one.has_password and one.has_second_factor
    ]
    asking = [one.id for one in ready if accounts.may_change(one)]
    agreeing = {one.id for one in ready if accounts.may_agree(one)}
    return any(agreeing - {one} for one in asking)


async def ask(accounts: Accounts, user: AppUser, after: Rights, admin: AppUser, reason: str) -> str:
    """Ask for rights; the id of what waits. Raises RoleChangeRefused, AccountRefused, AuditUnavailable."""
    changes = accounts.role_changes
    await changes.check_ask(user, after, admin.id, reason)
    change = rights_changed(rights_of(user), after)
    await accounts.record("user.rights_asked", user.id, [*change, f"reason.{reason}"], by=admin)
    return await changes.ask(user, after, admin.id, reason)


async def agree(accounts: Accounts, name: str, admin: AppUser) -> RoleChange:
    """Agree to what somebody else asked for. Raises RoleChangeRefused, AccountRefused, AuditUnavailable."""
    changes = accounts.role_changes
    found = await changes.check_approval(accounts.tenant, name, admin.id)
    change = rights_changed(found.before, found.after)
    await accounts.record("user.rights_agreed", found.user_id, [*change, f"asked.{found.asked_by}"], by=admin)
    return await changes.approve(accounts.tenant, name, admin.id)


async def withdraw(accounts: Accounts, name: str, admin: AppUser) -> None:
    """Take back what waits. Raises RoleChangeRefused, AuditUnavailable."""
    found = await accounts.role_changes.find(accounts.tenant, name)
    await accounts.record("user.rights_withdrawn", found.user_id, name, by=admin)
    await accounts.role_changes.withdraw(accounts.tenant, name, admin.id)
