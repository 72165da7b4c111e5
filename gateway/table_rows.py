"""Rows of a table that come back: which record a row tells of, so that it says again what stands there.

An import's rows name no records, but they hold values of one: an address that only one record has, names that the
writer sees. Only what the writer sees counts, so nothing is learnt by guessing: a typed value counts where he sees it
clear, a surrogate where he sees more than nothing, and a mask never leads to a record, it only has to fit. Where two
records fit alike, the row tells of none. What a row says anew is bound to nothing by it: whether the CRM took it for
that record is for the gateway's own reading to say (gateway.protect.arrivals).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.body.leaf import Leaf
from gateway.records import Records
from gateway.reveal import PLACEHOLDER
from gateway.settle import records_of
from gateway.standing import IMPORTED
from gateway.treatment import Target, Treatment, Work
from gateway.writer import Writer
from kms.surrogate import DETERMINISTIC
from kms.tokens import SurrogateVault, VaultEntry
from policies.decision import Form
from policies.operation import FieldSpec
from policies.taxonomy import Kind
from privacy import known, mask

RecordKey = tuple[str, str]  # entity, record
_MOST = 20_000  # records of one file that are looked at; a row of the others tells of none


@dataclass(frozen=True, slots=True)
class Held:
    """A value that stands in a record: in which field, how the writer sees it there, and whether that is sure."""

    name: str
    entry: VaultEntry = field(repr=False)
    form: Form
    sure: bool

    def reads(self, text: str) -> bool:
        """Whether the writer sees it there just as this text."""
        return self.form is Form.CLEAR and text in (self.entry.clear, *self.entry.spellings.values())

    def masks(self, char: str) -> set[str]:
        """What people read instead of it."""
        if self.form is Form.CLEAR:
            return set()
        if self.form is Form.HIDDEN:
            return {PLACEHOLDER}
        spelled = (self.entry.clear, *self.entry.spellings.values())
        return {*(mask.mask(self.entry.kind, one, char=char) for one in spelled)}


@dataclass(frozen=True, slots=True)
class RowRecord:
    """The record that a row tells of, with what stands in it."""

    entity: str
    record: str
    held: tuple[Held, ...] = field(repr=False)

    def at(self, spec: FieldSpec) -> list[Held]:
        """What stands in a field. A table may be labelled as for another kind of record: then kinds decide."""
        if spec.entity == self.entity:
            return [one for one in self.held if one.name == spec.name]
        return [
            one for one in self.held if one.entry.kind == spec.kind or (spec.kind is None and one.name == spec.name)
        ]

    def under(self, spec: FieldSpec, text: str, char: str) -> VaultEntry | None:
        """The only value of a field that is shown to the writer as this mask."""
        text = text.strip()
        fitting = {one.entry.surrogate: one.entry for one in self.at(spec) if one.sure and text in one.masks(char)}
        if text == PLACEHOLDER and len({one.entry.surrogate for one in self.at(spec) if one.sure}) > 1:
            return None
        return next(iter(fitting.values())) if len(fitting) == 1 else None

    def same(self, spec: FieldSpec, kind: str, text: str) -> VaultEntry | None:
        """What stands in a field of it already, reads like this text, and has a surrogate of its own."""
        if kind in DETERMINISTIC:
            return None  # equal values have one surrogate anyway
        return next((one.entry for one in self.at(spec) if one.entry.kind == kind and one.reads(text)), None)

    def unmasked(self, spec: FieldSpec, text: str, char: str) -> str:
        """A text with every mask that stands for one value of that text only replaced by its surrogate."""
        shown: dict[str, set[str]] = {}
        for one in self.at(spec):
            for covered in one.masks(char) if one.sure else ():
                shown.setdefault(covered, set()).add(one.entry.surrogate)
        alone = {covered: next(iter(some)) for covered, some in shown.items() if len(some) == 1 and covered in text}
        if not alone:
            return text
        masks = "|".join(re.escape(covered) for covered in sorted(alone, key=len, reverse=True))
        edge = r"[A-Za-z0-9*\u2022]"  # a mask with more around it is another one, or was edited
        return re.sub(rf"(?<!{edge})(?:{masks})(?!{edge})", lambda found: alone[found.group()], text)


def is_mask(text: str) -> bool:
    """Whether a cell holds what people read instead of a value."""
    return text.strip() == PLACEHOLDER or mask.looks_masked(text)


class TableRows:
    """Finds the records of the rows of one body; one per process."""

    def __init__(self, vault: SurrogateVault, records: Records, writer: Writer) -> None:
        self._vault = vault
        self._records = records
        self._writer = writer

    async def learn(self, work: Work, targets: Sequence[Target]) -> None:
        """Set `work.rows` for every row that tells of one record; raises KeysUnavailable, StoreUnavailable."""
        rows: dict[str, list[Target]] = {}
        for one in targets:
            value = one.treatment is Treatment.VALUE and one.spec is not None and one.spec.kind is not None
            if one.row and value and one.leaf.text.strip():
                rows.setdefault(one.row, []).append(one)
        anchors = await self._anchors(work, rows)
        candidates = dict.fromkeys(key for keys in anchors.values() for key in keys)
        if not candidates:
            return
        standing = await self._standing(work, list(candidates)[:_MOST])
        for row, keys in anchors.items():
            found = _best(rows[row], [standing[key] for key in keys if key in standing], work)
            if found is not None:
                work.rows[row] = found

    async def _anchors(self, work: Work, rows: Mapping[str, Sequence[Target]]) -> dict[str, dict[RecordKey, None]]:
        """The records that values of each row lead to."""
        texts: dict[str, set[str]] = {}
        wanted: dict[str, list[tuple[str, str]]] = {}
        for row, cells in rows.items():
            wanted[row] = [
                (str(one.spec.kind), one.leaf.text)
                for one in cells
                if one.spec is not None and one.spec.kind in DETERMINISTIC and not is_mask(one.leaf.text)
            ]
            if any(is_mask(one.leaf.text) for one in cells):
                wanted[row] += [(str(Kind.NAME), name) for name in _names(cells)]
            for kind, text in wanted[row]:
                texts.setdefault(kind, set()).add(text)
        found = {
            kind: await self._vault.find_known(work.exchange.tenant, kind, sorted(some)) for kind, some in texts.items()
        }
        surrogates = {one for some in found.values() for ones in some.values() for one in ones}
        entries = dict(await self._vault.resolve(work.exchange.tenant, surrogates))
        back = {
            row: [one for cell in cells if (one := work.returned.whole(cell.leaf.text))] for row, cells in rows.items()
        }
        every = [*entries.values(), *(one for some in back.values() for one in some)]
        await self._records.load(work.exchange.tenant, records_of(every), work.exchange.received_at)
        anchors: dict[str, dict[RecordKey, None]] = {}
        for row, asked in wanted.items():
            keys = anchors.setdefault(row, {})
            for kind, text in asked:
                for surrogate in found[kind].get(text, ()):
                    if surrogate in entries:
                        keys.update(self._seen(work, entries[surrogate], Form.CLEAR))
            for entry in back[row]:
                keys.update(self._seen(work, entry, Form.MASKED))
        return anchors

    def _seen(self, work: Work, entry: VaultEntry, least: Form) -> dict[RecordKey, None]:
        """The records in which the writer sees a value at least so; each is judged by itself."""
        return {
            (origin.entity, origin.record): None
            for origin in entry.origins
            if origin.record and self._writer.form(work, replace(entry, origins=(origin,))) >= least
        }

    async def _standing(self, work: Work, keys: Sequence[RecordKey]) -> dict[RecordKey, RowRecord]:
        held = await self._vault.standing_in(work.exchange.tenant, keys, IMPORTED)
        every = [entry for some in held.values() for _, entry, _ in some]
        await self._records.load(work.exchange.tenant, records_of(every), work.exchange.received_at)
        standing = {}
        for (entity, record), some in held.items():
            seen = tuple(
                Held(name, entry, self._form(work, entry, (entity, name, record)), sure) for name, entry, sure in some
            )
            standing[entity, record] = RowRecord(entity, record, seen)
        return standing

    def _form(self, work: Work, entry: VaultEntry, place: tuple[str, str, str]) -> Form:
        there = tuple(one for one in entry.origins if (one.entity, one.field, one.record) == place)
        return self._writer.form(work, replace(entry, origins=there)) if there else Form.HIDDEN


def _names(cells: Iterable[Target]) -> list[str]:
    """The names in a row and what they make together: a surname alone may be that of thousands."""
    named = {
        one.spec.name: one.leaf.text.strip() for one in cells if one.spec is not None and one.spec.kind == Kind.NAME
    }
    clear = {name: text for name, text in named.items() if not is_mask(text)}
    whole = (
        known.full_names(clear["first_name"], clear["last_name"]) if {"first_name", "last_name"} <= set(clear) else ()
    )
    return [*whole, *clear.values()]


def _best(cells: Sequence[Target], candidates: Sequence[RowRecord], work: Work) -> RowRecord | None:
    """The one record under whose masks and values a row fits best; None where two fit alike.

    Of two kinds of records that are about the same person (a contact, once a lead) the one that is imported counts.
    """
    scores: list[tuple[tuple[int, bool], RowRecord]] = []
    for one in candidates:
        score = _score(cells, one, work.mask_char)
        if score is not None:
            scores.append(((score, one.entity == work.entity), one))
    scores.sort(key=lambda pair: pair[0], reverse=True)
    if not scores or (len(scores) > 1 and scores[0][0] == scores[1][0]):
        return None
    return scores[0][1]


def _score(cells: Sequence[Target], record: RowRecord, char: str) -> int | None:
    """How many cells say what stands in a record; None where a mask fits nothing in it."""
    score = 0
    for cell in cells:
        assert cell.spec is not None
        if is_mask(cell.leaf.text):
            if record.under(cell.spec, cell.leaf.text, char) is None:
                return None
            score += 1
        else:
            score += any(one.reads(cell.leaf.text) for one in record.at(cell.spec))
    return score


def row_of(leaf: Leaf) -> str:
    """What the cells of one row have in common: the mapping of its values by label."""
    return str(id(leaf.siblings))
