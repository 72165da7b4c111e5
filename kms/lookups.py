"""Looking values up by their clear text or a part of it, and the aliases they are found by as well."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence

from kms import index
from kms.drafts import equality_terms
from kms.entry import VaultEntry
from kms.envelope import EnvelopeInvalid, FieldKey
from kms.holding import no_persons
from kms.kind_keys import VaultKeys
from kms.normalise import exact
from kms.surrogate import DETERMINISTIC, KINDS, KindUnknown
from kms.work_store import Work


class Lookups(VaultKeys, ABC):
    """The questions a vault answers."""

    @abstractmethod
    async def resolve(self, tenant: str, surrogates: Iterable[str]) -> dict[str, VaultEntry]:
        """Entries from memory or store; see kms.tokens."""

    @abstractmethod
    async def read(self, tenant: str, surrogates: Sequence[str]) -> dict[str, VaultEntry]:
        """Entries as the store has them now."""

    async def at_origin(
        self, tenant: str, entity: str, field_name: str, record: str, *, unless: str = ""
    ) -> list[VaultEntry]:
        """Entries a field of a record holds now, the newest first.

        unless: beginning of cells; what is older than an open origin of this field in such a cell is left out.
        """
        held = await self._store.at_origin(tenant, entity, field_name, record, unless)
        opened = await self.resolve(tenant, held) if held else {}
        return [opened[one] for one in held if one in opened]

    async def standing_in(
        self, tenant: str, records: Sequence[tuple[str, str]], newer: str
    ) -> dict[tuple[str, str], list[tuple[str, VaultEntry, bool]]]:
        """What stands in these records, (entity, record): fields with their entries, and whether that is sure.

        newer: beginning of cells; while one holds something younger for a field, what stands there is not sure.
        """
        rows = await self._store.standing_in(tenant, records, newer) if records else []
        opened = await self.resolve(tenant, {row[3] for row in rows}) if rows else {}
        held: dict[tuple[str, str], list[tuple[str, VaultEntry, bool]]] = {}
        for entity, record, name, surrogate, sure in rows:
            if surrogate in opened:
                held.setdefault((entity, record), []).append((name, opened[surrogate], sure))
        return held

    async def met_again(self, tenant: str, beginning: str, within_s: float, most: int) -> list[tuple[str, str, str]]:
        """(cell, entity, record) where something stands that waits in a young cell, too; see `Store.met_again`."""
        return await self._store.met_again(tenant, beginning, within_s, most)

    async def waiting(
        self, tenant: str, surrogates: Sequence[str], beginning: str, unless: str
    ) -> list[tuple[str, str, str, str]]:
        """(surrogate, entity, field, cell) of what waits for its record in such cells; see `Store.waiting`."""
        return await self._store.waiting(tenant, surrogates, beginning, unless) if surrogates else []

    async def is_open(self, tenant: str, fields: Collection[tuple[str, str]], beginning: str) -> bool:
        """Whether values of one of these fields (entity, name) wait for their record in such a cell."""
        return await self._store.is_open(tenant, fields, beginning)

    async def find(self, tenant: str, kind: str, clear: str) -> list[str]:
        """Surrogates of values equal after normalising (names: case folded, aliases too), at most 200."""
        _, pairs = await self._known(tenant, kind, lambda keys: dict.fromkeys(equality_terms(keys, kind, clear), clear))
        return list(dict.fromkeys(surrogate for _, surrogate in pairs))[:200]

    async def search(self, tenant: str, kind: str, how: str, text: str, most: int = 5000) -> list[VaultEntry]:
        """Entries of a kind that a part of a value finds, whatever its case, width and (numbers) separators.

        how: "equals", "prefix", "suffix", "contains" or "like" (see kms.index). Raises SearchTooShort, SearchTooWide
        (more than `most` fit), IndexUnfinished, KeysUnavailable, StoreUnavailable, KindUnknown.
        """
        if kind not in KINDS:
            raise KindUnknown(kind)
        return await self.index.search(self, tenant, kind, index.pattern(how, text), most)

    async def find_known(self, tenant: str, kind: str, candidates: Sequence[str]) -> dict[str, list[str]]:
        """Which candidates are known values in exactly this case, with their surrogates (at most 200 each)."""
        if not candidates:
            return {}
        spelled = {one: exact(one) for one in candidates}
        of_term, pairs = await self._known(
            tenant,
            kind,
            lambda keys: {
                term: text for text in set(spelled.values()) for term in equality_terms(keys, kind, text, fold=False)
            },
        )
        found: dict[str, list[str]] = {}
        for term, surrogate in pairs:
            found.setdefault(of_term[term], []).append(surrogate)
        return {one: found[text] for one, text in spelled.items() if text in found}

    async def _known(
        self, tenant: str, kind: str, made: Callable[[tuple[FieldKey, ...]], dict[bytes, str]]
    ) -> tuple[dict[bytes, str], list[tuple[bytes, str]]]:
        """Terms (with what each is for) under all live keys of one moment, and the (term, surrogate) pairs found."""

        async def ask() -> tuple[dict[bytes, str], list[tuple[bytes, str]]]:
            keys = await self._equal_keys(tenant, kind)
            terms = made(keys)
            ids = [key.id for key in keys]
            pairs = await self._store.known(tenant, kind, list(terms), ids, deterministic=kind in DETERMINISTIC)
            return terms, pairs

        return await self._with_current_keys(tenant, ask)

    async def index_aliases(self, tenant: str, kind: str, aliases: Sequence[tuple[str, str]]) -> None:
        """Make values findable by (alias, surrogate) pairs, too; an alias is kept sealed beside its terms."""

        async def write() -> None:
            maker = await self._maker(tenant, {kind})
            async with self._store.work(tenant) as work:
                check = await work.under(maker.key_ids)
                values = await self._value_keys(tenant, work, {surrogate for _, surrogate in aliases})
                rows = [row for alias, one in aliases for row in maker.alias(kind, alias, one, values.get(one))]
                await work.add_terms(rows)
                await check()

        await self._with_current_keys(tenant, write)

    async def _value_keys(self, tenant: str, work: Work, surrogates: Collection[str]) -> dict[str, bytes]:
        """Value keys of those entries that are held; they stay so until the end of the transaction."""
        held = [one for one, is_held in (await work.held(list(surrogates))).items() if is_held]
        if not held:
            return {}
        if self._holding is None:
            raise no_persons()
        found, _ = await self._holding.of_entries(tenant, work, held)
        if len(found) != len(held):
            raise EnvelopeInvalid
        return found

    async def complete(self, tenant: str, prefixes: Collection[str]) -> dict[str, str]:
        """Surrogates by a beginning that only one of them has (for `Scanner.find_truncated`)."""
        found = await self._store.starting_with(tenant, list(prefixes)) if prefixes else {}
        return {prefix: matches[0] for prefix, matches in found.items() if len(matches) == 1}
