"""What the settings and the policy say about giving rights to people; pure."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from gateway.access.user import AppUser

About = Callable[[str, Collection[str]], bool]
"""(tenant, everything the policy would know an account by) → yes or no."""


def never(_tenant: str, _roles: Collection[str]) -> bool:
    """No, whatever is asked."""
    return False


@dataclass(frozen=True, slots=True)
class Rights:
    """Everything that says what an account may do: roles, departments and positions, the key of its own records."""

    roles: tuple[str, ...]
    placements: tuple[str, ...]
    crm_user: str

    @property
    def everything(self) -> frozenset[str]:
        """What the policy knows the person by."""
        return frozenset((*self.roles, *self.placements))


def rights_of(user: AppUser) -> Rights:
    """Those of an account now."""
    return Rights(tuple(sorted(user.assigned)), tuple(sorted(user.placements)), user.crm_user)


def rights_changed(before: Rights, after: Rights) -> list[str]:
    """What comes (+) and goes (-), by name, for people and the trail; the CRM key itself is not told."""
    signed = [f"+{one}" for one in sorted(after.everything - before.everything)]
    signed += [f"-{one}" for one in sorted(before.everything - after.everything)]
    return signed + (["crm_user"] if before.crm_user != after.crm_user else [])


@dataclass(frozen=True, slots=True)
class Giving:
    """two_people: nobody gets rights before a second person agreed. joins: whether these roles would join duties that
    are kept apart. narrows: whether one of these roles takes something away, so that losing it gives.
    """

    two_people: bool = False
    joins: About = never
    narrows: About = never

    def gives(self, tenant: str, before: Rights, after: Rights) -> bool:
        """Whether a change might give somebody rights, rather than only take some."""
        if after.everything - before.everything or after.crm_user != before.crm_user:
            return True
        gone = before.everything - after.everything
        return bool(gone) and self.narrows(tenant, gone)

    def needs_second(self, tenant: str, before: Rights, after: Rights) -> bool:
        """Whether a second person has to agree to a change."""
        return self.two_people and self.gives(tenant, before, after)
