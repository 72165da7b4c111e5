"""Erasing persons as an order: the trail, the keys, what else is kept of their records, the turn, the certificate.

An order is noted before anything is done, so a kill leaves one that `resume` finishes. Its certificate is signed once
the epoch in which the keys were destroyed is closed: only then no copy of the person store opens them.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from audit.beside import end
from audit.note import Signer
from gateway.digits_left import Left
from gateway.key_step import Trail, entry, record_name, stamp, text_of
from gateway.protect.store import ProtectStore
from gateway.shredding_store import Order, ShreddingStore
from kms.custody import CustodyRefused
from kms.destruction import Person
from kms.epoch_turn import EpochTurn, Turned
from kms.provider import KeysUnavailable
from kms.shredding import Erased, Shredder
from kms.store import StoreUnavailable

REASON = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/#-]{0,79}\Z")
_AGAIN_S = 30.0


class OrderRefused(ValueError):  # noqa: N818 - an outcome the person reads
    """The order names no record, or its reason is none; the text says what fits."""

    permanent = True


class Erasing(Protocol):
    """Who destroys the keys (kms.shredding.Shredder)."""

    def erase(self, tenant: str, records: Sequence[tuple[str, str]]) -> Awaitable[Erased]:
        """Erase what belongs to these records only."""
        ...

    def again(self, tenant: str) -> Awaitable[int]:
        """Finish what was begun, and do over what a restore undid."""
        ...


class Shredding:
    """Orders of one tenant.

    backup_days: how long backups of the keeper of the epochs are kept; keeper: its name; digits: see digits_left.
    """

    def __init__(
        self,
        tenant: str,
        shredder: Shredder,
        turn: EpochTurn,
        epoch: Callable[[], Awaitable[int]],
        store: ShreddingStore,
        protect: ProtectStore,
        *,
        trail: Trail,
        signer: Signer,
        keeper: str,
        backup_days: int,
        clock: Callable[[], datetime],
        new_id: Callable[[str], str],
        digits: Left,
    ) -> None:
        self._digits = digits
        self._tenant = tenant
        self._shredder = shredder
        self._turn = turn
        self._epoch = epoch
        self._store = store
        self._protect = protect
        self._trail = trail
        self._signer = signer
        self._keeper = keeper
        self._backup = timedelta(days=backup_days)
        self._clock = clock
        self._new_id = new_id

    async def erase(self, records: Sequence[tuple[str, str]], reason: str, by: Person) -> Order:
        """Destroy the keys of records, (entity, record), now; the turn is left to `turn`.

        reason: a case number, no name. Raises OrderRefused, KeysUnavailable, StoreUnavailable, AuditUnavailable; what
        was begun is finished by `resume`.
        """
        if not records or any(not entity or not record for entity, record in records):
            raise OrderRefused("name at least one record: ENTITY/RECORD, for example contact/12")
        if not REASON.match(reason):
            raise OrderRefused("the reason is a case number of up to 80 letters, digits and . _ : / # - without blanks")
        named = [f"{entity}/{record}" for entity, record in dict.fromkeys(records)]
        order = self._new_id("e")
        await self._note("requested", order, by, reason)
        await self._store.begin(self._tenant, order, by, reason, named, self._clock())
        return await self._execute(await self._order(order))

    async def resume(self) -> int:
        """Finish orders whose command was killed; how many. Raises as `erase`."""
        await self._shredder.again(self._tenant)
        begun = [one for one in await self._store.every(self._tenant) if one.destroyed_at is None]
        for one in begun:
            await self._execute(one)
        return len(begun)

    async def turn(self, by: Person, progress: Callable[[int], None] = lambda _: None) -> tuple[Turned, list[Order]]:
        """Turn the epoch, and sign the certificates of all orders that this makes final.

        Raises as `erase`.
        """
        await self.resume()
        waiting = [one for one in await self._store.every(self._tenant) if not one.certificate]
        await self._note("turning", "", by, "epoch")
        turned = await self._turn.run(self._tenant, progress)
        # A turn that was begun before a key was destroyed may have brought that key along.
        while any(one.epoch is None or one.epoch >= turned.epoch for one in waiting):
            turned = await self._turn.run(self._tenant, progress)
        for one in waiting:
            digits = await self._digits(self._tenant, _records(one))
            text = self._signer.sign(self._certificate(one, turned.closed_at, digits), record_name(self._tenant))
            await self._note("certified", one.id, by, one.reason)
            await self._store.certify(self._tenant, one.id, turned.closed_at, text)
        await self._note("turned", "", by, f"epoch-{turned.epoch}", count=turned.survivors)
        done = {one.id for one in waiting}
        return turned, [one for one in await self._store.every(self._tenant) if one.id in done]

    async def orders(self) -> list[Order]:
        """All orders, the oldest first."""
        return await self._store.every(self._tenant)

    async def _order(self, order: str) -> Order:
        found = next((one for one in await self._store.every(self._tenant) if one.id == order), None)
        if found is None:
            raise StoreUnavailable("an order that was just noted is not there")
        return found

    async def _execute(self, order: Order) -> Order:
        records = _records(order)
        try:
            kept = await self._protect.forget(self._tenant, records)
            erased = await self._shredder.erase(self._tenant, records)
            epoch = await self._epoch()
        except (KeysUnavailable, CustodyRefused, StoreUnavailable) as fault:
            await self._note("failed", order.id, order.by, order.reason, type(fault).__name__)
            raise
        counts = {
            "keys": erased.keys,
            "entries": erased.entries,
            "shared": erased.shared,
            "unheld": erased.unheld,
            "beside": erased.beside,
            "bare": erased.bare,
            "cells": erased.cells,
            "sealed": erased.sealed,
            "kept": kept,
        }
        await self._note("destroyed", order.id, order.by, order.reason, count=erased.keys)
        await self._store.destroyed(self._tenant, order.id, erased.holders, counts, epoch, self._clock())
        return await self._order(order.id)

    async def _note(self, reason: str, order: str, by: Person, change: str, detail: str = "", count: int = 0) -> None:
        """Put a step into the trail. Of records it says nothing: the order has their keys, and pseudonyms beside it
        would name the erased person for good.
        """
        fields: dict[str, object] = {"target": self._tenant, "change": change}
        if detail:
            fields["detail"] = [detail]
        if count:
            fields["count"] = count
        step = entry(self._tenant, "keys.person", reason, order, by, fields, self._clock(), self._new_id("a"))
        await self._trail.append(step)

    def _certificate(self, order: Order, closed_at: datetime, digits: str) -> str:
        counts = order.counts
        lines = [
            "crmgate certificate of erasure by destroyed keys",
            f"tenant: {self._tenant}",
            f"order: {order.id}, reason {order.reason}",
            f"ordered: {stamp(order.begun_at)} by {order.by.login} ({order.by.id})",
            f"records: {' '.join(order.records)}",
            f"person keys destroyed: {counts.get('keys', 0)} at least, in epoch {order.epoch},"
            f" until {stamp(order.destroyed_at or closed_at)}",
            f"values that nothing opens any more: {counts.get('entries', 0)} at least",
            f"values that stay because other records hold them as well: {counts.get('shared', 0)}",
            f"values of before person keys, rows deleted: {counts.get('unheld', 0)}; {_UNHELD}",
            f"dates and digits kept beside the CRM, rows deleted: {counts.get('beside', 0)}; {_beside(counts)}",
            f"cells and sealed files of these records that nothing opens any more: {counts.get('sealed', 0)} at least;"
            f" {_SEALED}",
            f"cells and sealed files of these records of before value keys: {counts.get('cells', 0)}; {_CELLS}",
            digits,
            f"imports: {_IMPORTS}",
            f"originals kept for taking protection back, deleted: {counts.get('kept', 0)}",
            f"epoch closed: {stamp(closed_at)}, by {self._keeper}; {_SURVIVORS}",
            f"unreadable in every copy from: {stamp(closed_at + self._backup)}, when the last backup of"
            f" {self._keeper} from before has ended ({self._backup.days} days)",
            f"still possible: {_GUESSES}",
        ]
        return text_of(lines)


def _records(order: Order) -> list[tuple[str, str]]:
    return [(entity, record) for entity, _, record in (one.partition("/") for one in order.records)]


def _beside(counts: Mapping[str, int]) -> str:
    """What copies of before open of the values beside the CRM; orders of before value keys had only bare ones."""
    bare = counts.get("bare", counts.get("beside", 0))
    told = "copies of the main database made before open none of them"
    return told if not bare else f"{told} but {bare} of before value keys: {_UNHELD}"


_UNHELD = "copies of the main database made before open them with the field keys until these are destroyed"
_SEALED = "the CRM and its backups hold ciphertext whose keys are destroyed"
_CELLS = "they are under field keys and end when the CRM deletes them"
_IMPORTS = (
    "each value waits under a key of its own that is destroyed with its person, so copies of the main database from"
    " between an import and its binding open nothing of these records; imports of before that waited under one key,"
    " which is swept once nothing was under it for as long as backups are kept"
)
_SURVIVORS = "copies of the person store from before open nothing"
_GUESSES = (
    "with a copy of the main database from before and its equality or index keys, a guessed value can be confirmed"
    " until those keys are rotated and destroyed"
)


@contextlib.asynccontextmanager
async def kept_erased(shredder: Erasing, tenants: Sequence[str]) -> AsyncIterator[None]:
    """While this lasts, see to it that who was erased stays so: after a restore of either database, too."""
    task = asyncio.create_task(_erase_again(shredder, tenants), name="erased again")
    try:
        yield
    finally:
        await end(task)


async def _erase_again(shredder: Erasing, tenants: Sequence[str]) -> None:
    left = list(tenants)
    while left:
        for tenant in list(left):
            with contextlib.suppress(KeysUnavailable, StoreUnavailable):
                await shredder.again(tenant)
                left.remove(tenant)
        if left:
            await asyncio.sleep(_AGAIN_S)
