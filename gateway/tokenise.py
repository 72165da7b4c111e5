"""The way in: personal values in a request become surrogates before the CRM sees them.

Order matters: declared fields first, then free text (gateway.prose), so that a note naming the person who is being
created finds the name already known. What the profile declares is judged as a whole value.
"""

from collections.abc import Callable, Sequence
from functools import partial

from gateway.body.leaf import Leaf
from gateway.covered import Covered
from gateway.exchange import Exchange
from gateway.kept import KeptFields
from gateway.linked import LinkedRecords
from gateway.prose import ProseTokeniser
from gateway.records import Records
from gateway.refusal import FIELD_NOT_WRITABLE, VALUE_INVALID, VALUE_TOO_LONG, Refusal
from gateway.settle import records_of
from gateway.standing import PASTED, cell_of, holds, is_filled, note_held, standing
from gateway.table_rows import TableRows
from gateway.treatment import Prose, Target, Treatment, Work, by_line, in_other_form, is_lines
from gateway.typed import only_asks, writes_to_records
from gateway.unchanged import shown_text
from gateway.writeback import (
    hides_surrogate,
    holds_edited_surrogate,
    holds_wire_mask,
    look_up,
    refused,
    was_surrogate,
)
from gateway.writer import Writer
from kms.scanner import Scanner
from kms.surrogate import DETERMINISTIC
from kms.tokens import NewValue, Origin, SurrogateVault, VaultEntry
from policies.decision import Form
from policies.operation import StorageForm
from policies.profile import FieldSpec
from policies.taxonomy import Kind
from privacy import known, validate


class Tokeniser:
    """Replaces personal values in the leaves of a request; one per process. migrated: see gateway.parts."""

    def __init__(
        self,
        vault: SurrogateVault,
        records: Records,
        scanner: Callable[[str], Scanner],
        migrated: Callable[[str], bool] = lambda _: True,
        kept: KeptFields | None = None,
        covered: Covered | None = None,
    ) -> None:
        self._vault = vault
        self._migrated = migrated
        self._records = records
        self._writer = Writer(vault, records)
        self._prose = ProseTokeniser(vault, self._writer)
        self._rows = TableRows(vault, records, self._writer)
        self._linked = LinkedRecords(vault, records, self._writer)
        self._scanner = scanner
        self._kept = kept
        self._covered = covered

    async def protect(
        self, exchange: Exchange, targets: Sequence[Target], *, records: tuple[str, ...] = (), mask_char: str = "*"
    ) -> None:
        """Set `leaf.new` on every leaf that must change.

        Raises Refusal for values that cannot be stored or masks that cannot be put back, KeysUnavailable,
        StoreUnavailable.
        """
        work = Work(exchange, records if writes_to_records(exchange.operation) else (), mask_char)
        if self._covered is not None:
            targets = await self._covered.put_back(work, targets)
        others = [target for target in targets if in_other_form(target)]
        if others:
            await self._keep_others(work, others)
            targets = [target for target in targets if not in_other_form(target)]
        scanner = self._scanner(exchange.tenant)
        for target in targets:
            if target.spec is not None and not target.leaf.text.strip():
                await self._emptied(work, scanner, target, target.spec)
        given = [target for target in targets if target.treatment is not Treatment.LEAVE and target.leaf.text]
        if not given:
            return
        lines = {number: by_line(target) for number, target in enumerate(given) if is_lines(target)}
        active = [one for number, target in enumerate(given) for one in lines.get(number, [target])]
        work.returned = await look_up(self._vault, scanner, exchange.tenant, {t.leaf.text for t in active})
        await self._records.load(exchange.tenant, records_of(work.returned.entries.values()), exchange.received_at)
        linked: frozenset[int] = frozenset()
        if any(target.row for target in active):
            linked = await self._linked.put(work, active)
            await self._rows.learn(work, [target for target in active if id(target) not in linked])
        for number, target in enumerate(given):
            if target.treatment is not Treatment.VALUE or target.spec is None or id(target) in linked:
                continue
            if not self._writer.may_write(work, target, target.spec) and await self._stays(
                work, scanner, target, target.spec
            ):
                lines.pop(number, None)
                continue
            for part in lines.get(number, [target]):
                if part.treatment is Treatment.VALUE:
                    await self._value(work, scanner, part, target.spec)
        await self._write_values(work)
        texts = [target for target in active if target.treatment in (Treatment.TEXT, Treatment.WHOLE)]
        await self._prose.protect(work, scanner, texts)
        for number, parts in lines.items():
            joined = "".join(part.leaf.text if part.leaf.new is None else part.leaf.new for part in parts)
            given[number].leaf.new = joined if joined != given[number].leaf.text else None
        for surrogate, origin in dict.fromkeys(work.shared):
            await self._vault.add_origin(exchange.tenant, surrogate, origin, cell_of(exchange))
        await self._vault.add_origins(exchange.tenant, work.met, cell_of(exchange, table=True))
        for surrogate, origin in work.pasted.items():
            await self._vault.add_origin(exchange.tenant, surrogate, origin, PASTED)

    async def _keep_others(self, work: Work, targets: Sequence[Target]) -> None:
        """Fields whose form is no surrogate."""
        if self._kept is None:
            raise RuntimeError("nobody is there to keep a field that the profile declares in another form")
        for target in targets:
            assert target.spec is not None
            places, char, alone = work.places(target), work.mask_char, target.alone
            await self._kept.take(work.exchange, target.leaf, target.spec, places, char, alone=alone, path=target.path)
            if target.spec.form is StorageForm.CELL and self._hides_ours(work.exchange, target.leaf, target.spec):
                raise refused(target.spec)

    def _hides_ours(self, exchange: Exchange, leaf: Leaf, spec: FieldSpec) -> bool:
        """Whether a new text that is sealed whole holds what stands for the value of another field.

        Nobody would ever see that value there again, because what stands inside a cell is only text.
        """
        decision, text = exchange.decision, exchange.retyped.get((spec.entity, spec.name))
        if text != leaf.text or decision is None or decision.view.sees_everything:
            return False
        scanner = self._scanner(exchange.tenant)
        found = scanner.find(text.encode("utf-8", "surrogatepass"))
        return bool(found) or holds_wire_mask(text) or holds_edited_surrogate(text, (), scanner)

    async def _emptied(self, work: Work, scanner: Scanner, target: Target, spec: FieldSpec) -> None:
        """A field that is left or made empty: to empty it takes the right to write there."""
        stands = work.stands(target, spec)
        if target.treatment is Treatment.TEXT:
            if await self._prose.keep_parts(work, scanner, Prose(target, "")):
                return
        elif target.treatment is not Treatment.VALUE:
            return
        elif not self._writer.may_write(work, target, spec):
            if await self._stays(work, scanner, target, spec):
                return
            # A row of a table may empty what nobody has read, and an import may have filled what the vault holds empty.
            filled = target.records == () or await is_filled(self._vault, work.exchange.tenant, stands)
            if filled or await self._writer.is_open(work, stands):
                raise Refusal(FIELD_NOT_WRITABLE, fields=(spec.name,))
        note_held(work.exchange, stands, None, alone=target.alone)

    async def _stays(self, work: Work, scanner: Scanner, target: Target, spec: FieldSpec) -> bool:
        """Whether a field that is not this person's to write stays as the CRM shows it; raises Refusal where it would
        not. False: the CRM does not tell."""
        held = await shown_text(work.exchange, target.path)
        if held is not None and not await self._writer.same(work, scanner, target, spec, held):
            raise Refusal(FIELD_NOT_WRITABLE, fields=(spec.name,))
        return held is not None

    async def _value(self, work: Work, scanner: Scanner, target: Target, spec: FieldSpec) -> None:
        """One declared field: keep what comes back, refuse what cannot be kept, seal what is new."""
        text = target.leaf.text
        if not text.strip():
            return
        kept = work.returned.whole(text)
        if kept is None and (ours := work.returned.alone(text)) is not None:
            note_held(work.exchange, work.stands(target, spec), ours, alone=target.alone)
            return  # ours, but its value is gone: it stays what it is and is not sealed as if it were a value
        if kept is None:
            kept = await self._writer.restored(work, scanner, target, text, spec)
        if kept is not None:
            await self._keep(work, target, spec, kept)
            return
        if work.returned.inside(text):
            text = self._opened(work, text, spec)
        elif was_surrogate(text, scanner.shapes) or hides_surrogate(text, scanner):
            raise refused(spec)
        if not self._writer.may_write(work, target, spec):
            stands, form = work.stands(target, spec), partial(self._writer.loaded_form, work)
            there = await standing(self._vault, work.exchange.tenant, stands, text, form)
            if there is None:
                raise Refusal(FIELD_NOT_WRITABLE, fields=(spec.name,))
            await self._keep(work, target, spec, there)
            return
        kind = str(spec.kind)
        row = work.row(target)
        if row is not None and (again := row.same(spec, kind, text)) is not None:
            await self._keep(work, target, spec, again)
            return
        try:
            validate.check(kind, text, spec.max_chars)
        except validate.ValueRefused as fault:
            if fault.problem not in validate.ODD_SHAPES:
                reason = VALUE_TOO_LONG if fault.problem == "too-long" else VALUE_INVALID
                raise Refusal(reason, detail=fault.problem, fields=(spec.name,)) from None
            # Whether it may stand there is for the CRM to say: it gets something that is as little an e-mail
            # address or a number as what was typed, and its own message comes back with the typed value in it.
            kind = str(Kind.NAME)
        places = work.places(target)
        origin = Origin(spec.entity, spec.name, places[0] if places else None)
        work.values.append((target, spec, NewValue(kind, text, origin)))

    async def _keep(self, work: Work, target: Target, spec: FieldSpec, kept: VaultEntry) -> None:
        """What came back stays; to put it where it did not stand before takes the right to write there."""
        stands = work.stands(target, spec)
        if not self._writer.may_write(work, target, spec) and not await holds(
            self._vault, work.exchange.tenant, stands, kept
        ):
            raise Refusal(FIELD_NOT_WRITABLE, fields=(spec.name,))
        note_held(work.exchange, stands, kept.surrogate, alone=target.alone)
        if target.leaf.text != kept.surrogate:
            target.leaf.new = kept.surrogate
        if kept.kind == Kind.NAME:
            work.names.setdefault(id(target.leaf.siblings), {})[spec.name] = (kept.clear, kept.surrogate)
        self._writer.share(work, target, kept, spec)

    def _opened(self, work: Work, text: str, spec: FieldSpec) -> str:
        """A value typed around a surrogate: the clear text of it, if the writer may see every part clear."""
        out, at = [], 0
        for hit, (start, end) in zip(work.returned.hits[text], work.returned.spans(text), strict=True):
            entry = work.returned.entries.get(hit.canonical)
            if entry is None:
                continue
            if self._writer.form(work, entry) is not Form.CLEAR:
                raise refused(spec)
            out.append(text[at:start] + entry.clear)
            at = end
        return "".join(out) + text[at:]

    async def _leave_unknown(self, work: Work) -> None:
        """On a form of a CRM that is not fully protected: a number or address that the vault does not know stays."""
        tenant = work.exchange.tenant
        if self._migrated(tenant) or not only_asks(work.exchange):
            return
        values, work.values = work.values, []
        for one in values:
            if one[2].kind not in DETERMINISTIC or await self._vault.find(tenant, one[2].kind, one[2].clear):
                work.values.append(one)

    async def _write_values(self, work: Work) -> None:
        await self._leave_unknown(work)
        if not work.values:
            return
        exchange = work.exchange
        surrogates = await self._writer.placed(work, [(target, value) for target, _, value in work.values])
        named: set[int] = set()
        for (target, spec, value), surrogate in zip(work.values, surrogates, strict=True):
            target.leaf.new = surrogate
            note_held(exchange, work.stands(target, spec), surrogate, alone=target.alone)
            exchange.written.append((spec.entity, spec.name, value.kind))
            for record in work.places(target)[1:]:
                work.shared.append((surrogate, Origin(spec.entity, spec.name, record)))
            if exchange.newest is not None and value.kind == Kind.NAME and spec.entity == work.entity:
                exchange.newest.names.add(surrogate)
            if value.kind == Kind.NAME:
                row = id(target.leaf.siblings)
                work.names.setdefault(row, {})[spec.name] = (value.clear.strip(), surrogate)
                named.add(row)
        await self._alias_names(work, named)

    async def _alias_names(self, work: Work, rows: set[int]) -> None:
        """Full names are known through their parts, so that notes naming the person are found."""
        aliases: list[tuple[str, str]] = []
        for row in rows:
            names = work.names[row]
            first, last = names.get("first_name"), names.get("last_name")
            if first is not None and last is not None:
                aliases += [(alias, last[1]) for alias in known.full_names(first[0], last[0])]
        if aliases:
            await self._vault.index_aliases(work.exchange.tenant, Kind.NAME, aliases)
