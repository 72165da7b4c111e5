"""Whether somebody may come in from here, now: asked once both factors are right, and on every page of a session.

At a CRM's host the hours of the CRM, the rules of the person's roles and the person's own list hold; at the console's
those of roles and person only, so that hours of a CRM never keep its administrators from changing them.
"""

from collections.abc import Mapping
from datetime import datetime

from gateway.access.place_store import PlaceStore
from gateway.access.sessions import AUDIENCE_CRM
from gateway.access.user import AppUser
from gateway.entry import Entry, require_entry, require_own
from gateway.exchange import Principal
from gateway.refusal import PLACE_NOT_ALLOWED, Reason, Refusal


class NotAdmitted(Exception):  # noqa: N818 - an outcome the page explains
    """Both factors are right, but not from this place or not at this hour; `reason` says which, `who` whom."""

    permanent = True

    def __init__(self, reason: Reason, who: AppUser | Principal) -> None:
        super().__init__(reason.id)
        self.reason = reason
        self.who = who


class Gate:
    """The rules of all CRMs of an installation. entries: tenant → its rules, where it has some."""

    def __init__(self, store: PlaceStore, entries: Mapping[str, Entry]) -> None:
        self._store = store
        self._entries = entries

    async def admit(self, user: AppUser, audience: str, client: str, now: datetime) -> None:
        """Before a session is opened; raises NotAdmitted, StoreUnavailable. client: the true address."""
        networks = await self._store.networks(user.tenant, user.id)
        if networks is None:
            raise NotAdmitted(PLACE_NOT_ALLOWED, user)
        who = Principal(user.id, user.login, user.roles, user.tenant, "", networks=networks)
        try:
            self._require(who, audience, client, now)
        except Refusal as refused:
            raise NotAdmitted(refused.reason, user) from refused

    def check(self, who: Principal, audience: str, client: str, now: datetime) -> None:
        """For each request of a session; raises NotAdmitted."""
        try:
            self._require(who, audience, client, now)
        except Refusal as refused:
            raise NotAdmitted(refused.reason, who) from refused

    def _require(self, who: Principal, audience: str, client: str, now: datetime) -> None:
        entry = self._entries.get(who.tenant)
        if audience == AUDIENCE_CRM:
            require_entry(entry, who, client, now)
            return
        if entry is not None:
            entry.require_roles(who.roles, client, now)
        require_own(who.networks, client)
