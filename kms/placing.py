"""One write of values: found or placed, with origins, terms, and value keys for whom they are written for.

All of it is one transaction; the person keys of new holders are durable before it ends.
"""

from collections.abc import Sequence

from kms.drafts import Draft, Maker, value_context
from kms.envelope import EnvelopeInvalid, key_id, open_
from kms.holder_store import WrapRow
from kms.holding import Held, Holding, no_persons
from kms.index import IndexRow
from kms.keyring import Keyring
from kms.rotation_store import RenewedValue, TermRow
from kms.value_key import opening
from kms.work_store import OriginRow, Work

_ATTEMPTS = 64


class SurrogateSpaceFull(Exception):  # noqa: N818 - names what is wrong
    """No free surrogate of a kind was met in many attempts: its block is (nearly) used up."""

    permanent = True


class Placing:
    """Places drafts in one transaction."""

    def __init__(self, keyring: Keyring, holding: Holding | None, maker: Maker, work: Work) -> None:
        self._keyring = keyring
        self._holding = holding
        self._maker = maker
        self._work = work
        self._tenant = maker.tenant
        self._new: dict[str, bytes] = {}
        self._wrapped: set[tuple[str, bytes]] = set()

    async def run(self, drafts: list[Draft], cell: str, sender: str) -> None:
        """Find or place all of them; sender: whose notice it is. Raises KeysChanged, HoldersChanged, EntriesErased."""
        # The first rows read bring the answer along. With old keys a value may not be found that is there, and then
        # no surrogate would be free for it.
        check = await self._work.under(self._maker.key_ids)
        asked = None
        if self._holding is not None:
            asked = await self._holding.ask(self._work, {place for one in drafts for place in one.places})
        await self._find(drafts)
        await check()
        held = None
        if self._holding is not None and asked is not None:
            held = await self._holding.opened(self._tenant, asked)
        await self._place(drafts)
        await self._write(drafts, cell, held)
        await self._work.announce(sender, [one.surrogate for one in drafts if not one.new])

    async def _place(self, drafts: list[Draft]) -> None:
        """Insert what was not found; several processes may do so at once."""
        for _ in range(_ATTEMPTS):
            wanted = [one for one in drafts if not one.surrogate]
            if not wanted:
                return
            # One of equal values goes first: what must stay as it is written finds out afterwards whether it does.
            wanted = list(
                {one.terms[0] if one.deterministic else number: one for number, one in enumerate(wanted)}.values()
            )
            inserted = await self._work.add_entries([self._maker.entry(one) for one in wanted])
            for one in wanted:
                one.new = one.surrogate in inserted
                if not one.new:
                    one.surrogate, one.held, one.value_key = "", False, None
                elif one.value_key is not None:
                    self._new[one.surrogate] = one.value_key
            await self._find([one for one in drafts if not one.surrogate and one.deterministic])
        kinds = {one.kind for one in drafts if not one.surrogate}
        raise SurrogateSpaceFull(f"no free surrogate found for {', '.join(sorted(kinds))}")

    async def _find(self, drafts: list[Draft]) -> None:
        equal = [one for one in drafts if one.deterministic]
        at = [
            (number, one.kind, term, OriginRow("", origin.entity, origin.field, origin.record or ""))
            for number, one in enumerate(drafts)
            if not one.deterministic
            for origin, _ in one.origins[:1]
            if origin.record is not None
            for term in one.terms
        ]
        values, places = await self._work.placed([(one.kind, term) for one in equal for term in one.terms], at)
        for one in equal:
            found = next((values[one.kind, term] for term in one.terms if (one.kind, term) in values), None)
            if found is not None:
                one.take(found)
        for number, at_place in places.items():
            drafts[number].take(at_place)
        await self._open_found([one for one in drafts if one.surrogate])
        apart = [one for one in equal if one.aside and one.surrogate and await self._stored(one) != one.clear]
        if apart:
            for one in apart:
                one.set_apart()
            await self._find(apart)

    async def _open_found(self, found: Sequence[Draft]) -> None:
        """Value keys of entries that were there already. Raises EntriesErased, EnvelopeInvalid, KeysUnavailable."""
        held = [one for one in found if one.held and not one.new]
        for one in held:
            one.value_key = self._new.get(one.surrogate)
        held = [one for one in held if one.value_key is None]
        if not held:
            return
        if self._holding is None:
            raise no_persons()
        keys, wraps = await self._holding.of_entries(self._tenant, self._work, [one.surrogate for one in held])
        for one in held:
            if one.surrogate not in keys:
                raise EnvelopeInvalid
            one.value_key = keys[one.surrogate]
        self._wrapped |= {(surrogate, row.holder) for surrogate, rows in wraps.items() for row in rows}

    async def _write(self, drafts: list[Draft], cell: str, held: Held | None) -> None:
        maker = self._maker
        rows: list[OriginRow] = []
        terms: list[TermRow] = []
        parts: list[IndexRow] = []
        renewed: list[RenewedValue] = []
        wraps: list[WrapRow] = []
        for one in drafts:
            stored = one.clear if one.new else await self._stored(one)
            rows += maker.origins(one, stored, cell)
            parts += maker.index(one, stored)
            if one.new:
                terms += maker.terms(one)
            elif (newer := maker.renewed(one, stored)) is not None:
                renewed.append(newer)
            wraps += self._wraps(one, held)
        await self._work.add_wraps(wraps)
        await self._work.add_terms(terms)
        await self._work.add_index(parts)
        await self._work.add_origins(rows)
        await self._work.renew(renewed)

    def _wraps(self, one: Draft, held: Held | None) -> list[WrapRow]:
        """The value key of an entry for those of its places that do not have it yet."""
        if one.value_key is None or held is None or self._holding is None:
            return []
        new = [place for place in one.places if (one.surrogate, held.ids[place]) not in self._wrapped]
        return self._holding.wraps(self._tenant, held, one.surrogate, one.value_key, new)

    async def _stored(self, one: Draft) -> str:
        """The clear text the entry of an equal value holds; it may be spelled differently."""
        keys = await self._keyring.by_id(self._tenant, {key_id(one.blob)})
        place = value_context(self._tenant, one.kind, one.surrogate)
        return open_(opening(keys, one.value_key, key_id(one.blob)), one.blob, place).decode("utf-8", "surrogatepass")
