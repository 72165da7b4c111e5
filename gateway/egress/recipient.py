"""Who a recipient of the CRM's mail is: a person in the CRM, a member of staff, or somebody we know nothing of.

A surrogate address is a person's: the records it stands in are the person's own. A clear address is staff when it is
that of a gateway user, else nobody's, and is accepted only from the company's own domains or an explicit list, so that
the relay is no open one. An address of the company is judged as such even where it stands in a record: whoever may
write a record must not have its values mailed to a desk of the house.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from gateway.access.user import AppUser
from gateway.egress.header import is_plain_address
from gateway.egress.scanning import Scans
from gateway.egress.store import Place
from kms.tokens import VaultEntry
from policies.decision import FieldView
from policies.taxonomy import Kind
from privacy.email import ascii_host


class Standing(StrEnum):
    """What a recipient is to the vault."""

    PERSON = "person"
    STAFF = "staff"
    OTHER = "other"


class RecipientRefused(Exception):  # noqa: N818 - an outcome
    """This address gets no mail from here; the message names a reason id, never the address."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient.

    key: what identifies him in keyed digests; address: where the mail goes; records: the person's own (entity, record)
    with the time since when the address stands there; view, crm_user: staff's rights.
    """

    standing: Standing
    key: str = field(repr=False)
    address: str = field(repr=False)
    records: Mapping[tuple[str, str], datetime] = field(default_factory=dict)
    view: FieldView | None = None
    crm_user: str | None = None


class Vault(Protocol):
    """kms.tokens.SurrogateVault."""

    async def resolve(self, tenant: str, surrogates: Collection[str]) -> dict[str, VaultEntry]:
        """Entries by surrogate; unknown ones are absent."""


class Ages(Protocol):
    """gateway.egress.store.EgressStore."""

    async def since(self, tenant: str, surrogates: Collection[str]) -> dict[Place, datetime]:
        """Since when surrogates stand in records."""


class StaffList(Protocol):
    """Gateway users by login."""

    async def find(self, tenant: str, login: str) -> AppUser | None:
        """The user with this login, None where there is none or the account is closed."""


class Recipients:
    """Tells recipients apart; one per relay.

    staff_domains: `login@domain` is that user; allowed: other clear addresses, `name@domain` or `@domain`, lower case.
    """

    def __init__(
        self,
        vault: Vault,
        ages: Ages,
        staff: StaffList,
        view: Callable[[str, tuple[str, ...]], FieldView],
        scanner: Scans,
        *,
        staff_domains: Collection[str] = (),
        allowed: Collection[str] = (),
    ) -> None:
        self._vault, self._ages, self._staff, self._view, self._scanner = vault, ages, staff, view, scanner
        self._domains = frozenset(domain.lower() for domain in staff_domains)
        self._allowed = frozenset(one.lower() for one in allowed)

    async def find(self, tenant: str, given: str) -> Recipient:
        """The recipient an envelope names; raises RecipientRefused, KeysUnavailable, StoreUnavailable."""
        surrogate = self._scanner.whole(given)
        if surrogate is None:
            return await self._clear(tenant, given)
        entry = (await self._vault.resolve(tenant, [surrogate])).get(surrogate)
        if not isinstance(entry, VaultEntry) or entry.kind != Kind.EMAIL:
            raise RecipientRefused("recipient-unknown")
        address = deliverable(entry.clear)
        if address is None:
            raise RecipientRefused("recipient-undeliverable")
        user = await self._user(tenant, address)
        if user is not None:
            return self._as_staff(tenant, user, surrogate, address)
        if address.rpartition("@")[2] in self._domains:
            return Recipient(Standing.OTHER, surrogate, address)
        ages = await self._ages.since(tenant, [surrogate])
        bound = {(one.entity, one.record) for one in entry.origins if one.record is not None}
        records = {(e, r): at for (_, e, r), at in ages.items() if (e, r) in bound}
        return Recipient(Standing.PERSON, surrogate, address, records)

    async def _clear(self, tenant: str, given: str) -> Recipient:
        address = deliverable(given)
        if address is None:
            raise RecipientRefused("recipient-undeliverable")
        user = await self._user(tenant, address)
        domain = address.rpartition("@")[2]
        if user is not None:
            return self._as_staff(tenant, user, address, address)
        if domain in self._domains or f"@{domain}" in self._allowed or address.lower() in self._allowed:
            return Recipient(Standing.OTHER, address.lower(), address)
        raise RecipientRefused("recipient-not-allowed")

    async def _user(self, tenant: str, address: str) -> AppUser | None:
        """The gateway user whose address this is: the login itself, or the login at one of the company's domains."""
        local, _, domain = address.rpartition("@")
        user = await self._staff.find(tenant, address)
        if user is None and domain in self._domains:
            user = await self._staff.find(tenant, local)
        return user

    def _as_staff(self, tenant: str, user: AppUser, key: str, address: str) -> Recipient:
        return Recipient(
            Standing.STAFF, key, address, view=self._view(tenant, user.roles), crm_user=user.crm_user or None
        )


def deliverable(clear: str) -> str | None:
    """The address as it goes into an envelope (host in lower-case ASCII); None where it cannot."""
    local, at, domain = clear.strip().rpartition("@")
    host = ascii_host(domain) if at else None
    address = f"{local}@{host}"
    return address if host and is_plain_address(address) else None


def is_own(
    recipient: Recipient, places: Mapping[Place, datetime], entry: VaultEntry, rest: timedelta, now: datetime
) -> tuple[str, str, str] | None:
    """(entity, field, record) by which a value is the recipient's own, None where it is not.

    An address that was changed a short while ago opens only what was entered with it or later: whoever may write an
    address but not see a value must not have it mailed to an address of his own before anybody can notice.
    """
    for origin in entry.origins:
        if origin.record is None:
            continue
        since = recipient.records.get((origin.entity, origin.record))
        if since is None:
            continue
        entered = places.get((entry.surrogate, origin.entity, origin.record))
        if now - since >= rest or (entered is not None and entered >= since - TOGETHER):
            return origin.entity, origin.field, origin.record
    return None


TOGETHER = timedelta(minutes=10)  # one form, or the two pages of a wizard
