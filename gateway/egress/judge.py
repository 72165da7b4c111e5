"""What each recipient of a mail is shown of each value: the person's own clear, staff by their rights, else masks.

What a program may follow or post (links, pictures from elsewhere, form fields) keeps its surrogate, whoever reads:
else the address of a picture on a foreign server would carry the value there as soon as the mail is looked at.
Counted while rendering, for the trail: entity, field, record and form, never a value.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Protocol

from gateway.body.layer import Show
from gateway.egress.recipient import Ages, Recipient, Standing, Vault, is_own
from gateway.records import Records
from gateway.settle import NOWHERE, records_of, settle
from gateway.verdict import PLACEHOLDER
from kms.tokens import Origin, VaultEntry
from policies.decision import Form
from privacy import mask
from privacy.render import Shown

Counts = dict[tuple[str, str, str, str], int]  # entity, field, record, form → how often


class Judge(Protocol):
    """What the relay asks."""

    async def judge(self, tenant: str, recipient: Recipient, found: Collection[str], counts: Counts) -> Show:
        """What to show for each surrogate; fills `counts` as values are rendered."""


class Judgement:
    """Decides per recipient and entry; one per process.

    rest: how long a changed address must stand before what is older than it is opened.
    """

    def __init__(
        self, vault: Vault, ages: Ages, records: Records, clock: Callable[[], datetime], rest: timedelta
    ) -> None:
        self._vault, self._ages, self._records, self._clock, self._rest = vault, ages, records, clock, rest

    async def judge(self, tenant: str, recipient: Recipient, found: Collection[str], counts: Counts) -> Show:
        """What to show for each surrogate; raises KeysUnavailable, StoreUnavailable."""
        entries = await self._vault.resolve(tenant, found) if found else {}
        now = self._clock()
        table: dict[str, tuple[Shown, Origin]] = {}
        if recipient.standing is Standing.PERSON and recipient.records:
            places = await self._ages.since(tenant, entries)
            for surrogate, entry in entries.items():
                own = is_own(recipient, places, entry, self._rest, now)
                table[surrogate] = _masked(entry) if own is None else _clear(entry, Origin(*own))
        elif recipient.standing is Standing.STAFF:
            await self._records.load(tenant, records_of(entries.values()), now)
            for surrogate, entry in entries.items():
                table[surrogate] = self._by_rights(tenant, recipient, entry, now)
        else:
            table = {surrogate: _masked(entry) for surrogate, entry in entries.items()}
        return _show(table, counts)

    def _by_rights(self, tenant: str, recipient: Recipient, entry: VaultEntry, now: datetime) -> tuple[Shown, Origin]:
        if recipient.view is None:
            return _masked(entry)
        form, origin = settle(entry, recipient.view, self._records, tenant, recipient.crm_user, now)
        if form is Form.CLEAR:
            return _clear(entry, origin)
        if form is Form.MASKED:
            return _masked(entry)[0], origin
        return Shown(Form.HIDDEN, PLACEHOLDER, entry.surrogate), origin


def _clear(entry: VaultEntry, origin: Origin) -> tuple[Shown, Origin]:
    text = entry.spellings.get((origin.entity, origin.field, origin.record or ""), entry.clear)
    return Shown(Form.CLEAR, text, entry.surrogate), origin


def _masked(entry: VaultEntry) -> tuple[Shown, Origin]:
    origin = entry.origins[0] if entry.origins else NOWHERE
    return Shown(Form.MASKED, mask.mask(entry.kind, entry.clear), entry.surrogate), origin


def _show(table: Mapping[str, tuple[Shown, Origin]], counts: Counts) -> Show:
    def show(canonical: str) -> Shown | None:
        found = table.get(canonical)
        if found is None:
            return None
        shown, origin = found
        key = (origin.entity, origin.field, origin.record or "", shown.form.name.lower())
        counts[key] = counts.get(key, 0) + 1
        return shown

    return show
