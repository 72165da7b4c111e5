"""What the pages of the console are called in the policy, and what happens to somebody who may not open one."""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.access.deps import NavigationItem
from gateway.console.deps import Policy
from gateway.console.words import N_
from gateway.exchange import Principal


@dataclass(frozen=True, slots=True)
class Right:
    """An operation of the policy (`op:ID`) with the action asked for."""

    operation: str
    action: str = "read"


LIVE = Right("console.live")
SESSIONS = Right("console.sessions")
END_SESSION = Right("console.sessions", "update")
USERS = Right("console.users")
CHANGE_USER = Right("console.users", "update")
AGREE_RIGHTS = Right("console.users", "other")
EMERGENCY = Right("console.emergency")
ASK_EMERGENCY = Right("console.emergency", "create")
AGREE_EMERGENCY = Right("console.emergency", "other")
END_EMERGENCY = Right("console.emergency", "update")
KEYS = Right("console.keys")
CHANGE_KEYS = Right("console.keys", "update")
HEALTH = Right("console.health")
AUDIT = Right("console.audit")
EXPORT_AUDIT = Right("console.audit", "export")
POLICY = Right("console.policy")
CHANGE_POLICY = Right("console.policy", "update")
PUBLISH_POLICY = Right("console.policy", "other")
LEARNING = Right("console.settings")
CHANGE_LEARNING = Right("console.settings", "update")


class SignInNeeded(Exception):  # noqa: N818 - an outcome answered with a redirect
    """Nobody is signed in on this host."""

    permanent = True


class ConsoleRefused(Exception):  # noqa: N818
    """The person's roles do not have this operation."""

    permanent = True

    def __init__(self, principal: Principal, right: Right) -> None:
        super().__init__(right.operation)
        self.principal = principal
        self.right = right


def holds(policy: Policy, principal: Principal, right: Right) -> bool:
    """Whether somebody has a right; only for showing or hiding a button, never instead of `require`."""
    return policy.may(principal.tenant, principal.roles, right.operation, right.action)


def require(policy: Policy, principal: Principal, right: Right) -> None:
    """Raise ConsoleRefused unless somebody has a right."""
    if not holds(policy, principal, right):
        raise ConsoleRefused(principal, right)


def navigation(policy: Policy, principal: Principal, translate: Callable[[str], str]) -> list[NavigationItem]:
    """The pages this person may open, in the order of the menu."""
    pages = (
        ("/", N_("Overview"), "overview", LIVE),
        ("/activity", N_("Live activity"), "activity", LIVE),
        ("/trail", N_("Who saw what"), "trail", AUDIT),
        ("/query", N_("SQL of the trail"), "query", AUDIT),
        ("/reveals", N_("Reveals"), "reveals", AUDIT),
        ("/sessions", N_("Who is on"), "sessions", SESSIONS),
        ("/users", N_("Users"), "users", USERS),
        ("/changes", N_("Rights that wait"), "changes", USERS),
        ("/emergency", N_("Emergency roles"), "emergency", EMERGENCY),
        ("/roles", N_("Roles and fields"), "roles", USERS),
        ("/reviews", N_("Reviews"), "reviews", USERS),
        ("/policy", N_("Policy"), "policy", POLICY),
        ("/programs", N_("Programs"), "programs", CHANGE_USER),
        ("/keys", N_("Keys"), "keys", KEYS),
        ("/learning", N_("Learning"), "learning", LEARNING),
        ("/health", N_("Health"), "health", HEALTH),
    )
    return [
        NavigationItem(href, translate(name), page)
        for href, name, page, right in pages
        if holds(policy, principal, right)
    ]
