"""The way in: personal values in a request become surrogates before the CRM sees them.

Order matters: declared fields first, then free text, so that a note naming the person who is being created finds the
name already known. What the profile declares is judged as a whole value; what nobody declared is only touched when its
whole text is a recognised value, or, in running text, where a recogniser or a known name stands (DESIGN, section 1).
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from gateway.body.leaf import Leaf
from gateway.covered import Covered
from gateway.exchange import Exchange
from gateway.kept import KeptFields
from gateway.records import Records
from gateway.refusal import FIELD_NOT_WRITABLE, TEXT_PART_NOT_WRITABLE, VALUE_INVALID, VALUE_TOO_LONG, Refusal
from gateway.reveal import PLACEHOLDER
from gateway.settle import records_of, settle
from gateway.standing import IMPORTED, PASTED, Place, cell_of, holds, is_filled, note_held, note_text, standing
from gateway.treatment import UNDECLARED, Prose, Target, Treatment, Work, by_line, in_other_form, is_lines
from gateway.typed import only_asks, remember, writes_to_records
from gateway.unchanged import parts_of, says_the_same, shown_text
from gateway.wording import Piece, keep_parts, locked_kinds
from gateway.writeback import (
    WIRE,
    hides_surrogate,
    holds_edited_surrogate,
    holds_wire_mask,
    look_up,
    refused,
    restore_mask,
    was_surrogate,
)
from kms.scanner import Scanner
from kms.surrogate import DETERMINISTIC
from kms.tokens import NewValue, Origin, SurrogateVault, VaultEntry
from policies.decision import Form
from policies.operation import StorageForm
from policies.profile import FieldSpec
from policies.taxonomy import Kind
from privacy import known, mask, recognise, validate


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
        for number, target in enumerate(given):
            if target.treatment is not Treatment.VALUE or target.spec is None:
                continue
            if not self._writable(work, target.spec) and await self._stays(work, scanner, target, target.spec):
                lines.pop(number, None)
                continue
            for part in lines.get(number, [target]):
                if part.treatment is Treatment.VALUE:
                    await self._value(work, scanner, part, target.spec)
        await self._write_values(work)
        texts = [target for target in active if target.treatment in (Treatment.TEXT, Treatment.WHOLE)]
        await self._texts(work, scanner, texts)
        for number, parts in lines.items():
            joined = "".join(part.leaf.text if part.leaf.new is None else part.leaf.new for part in parts)
            given[number].leaf.new = joined if joined != given[number].leaf.text else None
        for surrogate, origin in dict.fromkeys(work.shared):
            await self._vault.add_origin(exchange.tenant, surrogate, origin, cell_of(exchange))
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
            if await self._keep_parts(work, scanner, Prose(target, "")):
                return
        elif target.treatment is not Treatment.VALUE:
            return
        elif not self._writable(work, spec):
            if await self._stays(work, scanner, target, spec):
                return
            # A row of a table may empty what nobody has read, and an import may have filled what the vault holds empty.
            tenant = work.exchange.tenant
            if target.records == () or await is_filled(self._vault, tenant, stands) or await self._open(work, stands):
                raise Refusal(FIELD_NOT_WRITABLE, fields=(spec.name,))
        note_held(work.exchange, stands, None, alone=target.alone)

    async def _stays(self, work: Work, scanner: Scanner, target: Target, spec: FieldSpec) -> bool:
        """Whether a field that is not this person's to write stays as the CRM shows it; raises Refusal where it would
        not. False: the CRM does not tell."""
        held = await shown_text(work.exchange, target.path)
        if held is not None and not await self._same(work, scanner, target, spec, held):
            raise Refusal(FIELD_NOT_WRITABLE, fields=(spec.name,))
        return held is not None

    async def _open(self, work: Work, stands: Sequence[Place]) -> bool:
        """Whether an import brought values for such a field of which nobody knows in which records they stand."""
        names = {place[:2] for place in stands}
        return bool(names) and await self._vault.is_open(work.exchange.tenant, names, IMPORTED)

    async def _same(self, work: Work, scanner: Scanner, target: Target, spec: FieldSpec, held: str) -> bool:
        """Whether a text says what the CRM holds; it goes on as that then."""
        form, leaf = partial(self._loaded_form, work), target.leaf
        if not await says_the_same(self._vault, scanner, work.exchange, held, leaf.text, spec, form, work.mask_char):
            return False
        leaf.new = held
        note_text(work.exchange, scanner, work.stands(target, spec), held, alone=target.alone)
        return True

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
            kept = await self._restored(work, scanner, target, text, spec)
        if kept is not None:
            await self._keep(work, target, spec, kept)
            return
        if work.returned.inside(text):
            text = self._opened(work, text, spec)
        elif was_surrogate(text, scanner.shapes) or hides_surrogate(text, scanner):
            raise refused(spec)
        if not self._writable(work, spec):
            stands, form = work.stands(target, spec), partial(self._loaded_form, work)
            there = await standing(self._vault, work.exchange.tenant, stands, text, form)
            if there is None:
                raise Refusal(FIELD_NOT_WRITABLE, fields=(spec.name,))
            await self._keep(work, target, spec, there)
            return
        kind = str(spec.kind)
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
        if not self._writable(work, spec) and not await holds(self._vault, work.exchange.tenant, stands, kept):
            raise Refusal(FIELD_NOT_WRITABLE, fields=(spec.name,))
        note_held(work.exchange, stands, kept.surrogate, alone=target.alone)
        if target.leaf.text != kept.surrogate:
            target.leaf.new = kept.surrogate
        if kept.kind == Kind.NAME:
            work.names.setdefault(id(target.leaf.siblings), {})[spec.name] = (kept.clear, kept.surrogate)
        self._share(work, target, kept, spec)

    def _writable(self, work: Work, spec: FieldSpec) -> bool:
        decision = work.exchange.decision
        kind = str(spec.kind) if spec.kind is not None else ""
        return decision is not None and decision.view.rule(spec.entity, spec.name, kind).writable

    def _form(self, work: Work, entry: VaultEntry) -> Form:
        exchange = work.exchange
        if exchange.decision is None:
            return Form.HIDDEN
        form, _ = settle(
            entry, exchange.decision.view, self._records, exchange.tenant, exchange.crm_user, exchange.received_at
        )
        return form

    async def _restored(
        self, work: Work, scanner: Scanner, target: Target, text: str, spec: FieldSpec | None
    ) -> VaultEntry | None:
        """The entry a posted mask stands for, None when it is no mask; raises Refusal(MASK_RETURNED)."""
        exchange, places = work.exchange, work.places(target)
        form = partial(self._loaded_form, work)
        record = places[0] if len(places) == 1 else None
        return await restore_mask(self._vault, scanner, exchange.tenant, text, spec, record, work.mask_char, form)

    async def _loaded_form(self, work: Work, entry: VaultEntry) -> Form:
        await self._records.load(work.exchange.tenant, records_of([entry]), work.exchange.received_at)
        return self._form(work, entry)

    async def _placed(self, work: Work, given: Sequence[tuple[Target, NewValue]]) -> list[str]:
        """Surrogates of new values; what may be shown again as it was typed is remembered."""
        exchange, surrogates = work.exchange, [""] * len(given)
        for table in (False, True):
            mine = [number for number, (target, _) in enumerate(given) if (target.records == ()) is table]
            values = [given[number][1] for number in mine]
            cell = cell_of(exchange, table=table)
            placed = await self._vault.place(exchange.tenant, values, cell, apart=cell.startswith(IMPORTED))
            await remember(self._vault, exchange, placed, partial(self._loaded_form, work))
            for number, (surrogate, _) in zip(mine, placed, strict=True):
                surrogates[number] = surrogate
        return surrogates

    def _share(self, work: Work, target: Target, entry: VaultEntry, spec: FieldSpec) -> None:
        """A surrogate written into a field gets that origin only if the writer sees the value in clear.

        A mask is not enough: where a role sees more of its own records, pasting would turn the mask into the value.
        """
        if self._form(work, entry) is not Form.CLEAR:
            if any(
                origin.record is None for origin in entry.origins
            ):  # what waits for its record must not find it here
                work.pasted[entry.surrogate] = Origin(spec.entity, spec.name, None)
            return
        for record in work.places(target) or (None,):
            origin = Origin(spec.entity, spec.name, record)
            if origin not in entry.origins:
                work.shared.append((entry.surrogate, origin))

    def _opened(self, work: Work, text: str, spec: FieldSpec) -> str:
        """A value typed around a surrogate: the clear text of it, if the writer may see every part clear."""
        out, at = [], 0
        for hit, (start, end) in zip(work.returned.hits[text], work.returned.spans(text), strict=True):
            entry = work.returned.entries.get(hit.canonical)
            if entry is None:
                continue
            if self._form(work, entry) is not Form.CLEAR:
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
        surrogates = await self._placed(work, [(target, value) for target, _, value in work.values])
        named: set[int] = set()
        for (target, spec, value), surrogate in zip(work.values, surrogates, strict=True):
            target.leaf.new = surrogate
            note_held(exchange, work.stands(target, spec), surrogate, alone=target.alone)
            exchange.written.append((spec.entity, spec.name, value.kind))
            for record in work.places(target)[1:]:
                work.shared.append((surrogate, Origin(spec.entity, spec.name, record)))
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

    async def _texts(self, work: Work, scanner: Scanner, targets: Sequence[Target]) -> None:
        prose: list[Prose] = []
        for target in targets:
            whole = work.returned.whole(target.leaf.text)
            if whole is not None and target.spec is not None:
                self._share(work, target, whole, target.spec)
            prose.append(Prose(target, await self._put_back(work, scanner, target)))
        known_values = await self._known_values(work, prose)
        for one in prose:
            one.pieces = self._pieces(work, one, known_values.get(one.text, []))
        changed = [one for one in prose if not await self._keep_parts(work, scanner, one)]
        await self._write_pieces(work, changed)
        for target, spec in ((one.target, one.target.spec) for one in changed):
            if target.treatment is Treatment.TEXT and spec is not None:
                text = target.leaf.text if target.leaf.new is None else target.leaf.new
                note_text(work.exchange, scanner, work.stands(target, spec), text, alone=target.alone)

    async def _keep_parts(self, work: Work, scanner: Scanner, prose: Prose) -> bool:
        """Personal parts of a free text that a role may not write are those that stand there; raises Refusal.

        True: nothing in the text was changed, and it goes on as the CRM holds it.
        """
        target, spec, tenant = prose.target, prose.target.spec, work.exchange.tenant
        if target.treatment is not Treatment.TEXT or spec is None:
            return False
        locked = locked_kinds(work.exchange, spec, declared=spec.name != UNDECLARED)
        if not locked:
            return False
        held = await shown_text(work.exchange, target.path)
        if held is not None:
            if await self._same(work, scanner, target, spec, held):
                return True
            there = [await parts_of(self._vault, scanner, tenant, held)]
        else:
            stands = work.stands(target, spec)
            if await self._open(work, stands):
                raise Refusal(TEXT_PART_NOT_WRITABLE, fields=(spec.name,))
            there = [await self._vault.at_origin(tenant, *place) for place in stands]
        inside, form = work.returned.inside(prose.text), partial(self._loaded_form, work)
        await keep_parts(locked, spec, prose.pieces, inside, there, form, whole=target.alone or held is not None)
        return False

    async def _put_back(self, work: Work, scanner: Scanner, target: Target) -> str:
        """The text with the masks in it replaced by their surrogates; raises Refusal for those that cannot be."""
        text, out, at = target.leaf.text, [], 0
        for match in WIRE.finditer(text):
            entry = await self._restored(work, scanner, target, match.group(), target.spec)
            if entry is not None:
                out.append(text[at : match.start()] + entry.surrogate)
                at = match.end()
        if out:
            text = "".join(out) + text[at:]
            work.returned.hits[text] = scanner.find(text.encode("utf-8", "surrogatepass"))
        if holds_wire_mask(text) or self._left_over(work, scanner, target, text):
            raise refused(target.spec)
        return text

    def _left_over(self, work: Work, scanner: Scanner, target: Target, text: str) -> bool:
        """Whether a readable mask, or an edited surrogate, of somebody who does not see everything is left."""
        decision = work.exchange.decision
        if decision is not None and decision.view.sees_everything:
            return False
        if target.treatment is Treatment.TEXT:
            masked = PLACEHOLDER in text or mask.looks_masked(text)
        else:  # a password of stars is nobody's mask
            masked = PLACEHOLDER in text or (bool(text.strip(" *\u2022")) and mask.looks_masked(text))
        return masked or holds_edited_surrogate(text, work.returned.spans(text), scanner)

    async def _known_values(self, work: Work, prose: Iterable[Prose]) -> dict[str, list[tuple[int, int, str, Kind]]]:
        """Parts of declared free texts that are known names or addresses, per text."""
        candidates = {
            one.text: known.known_candidates(one.text) for one in prose if one.target.treatment is Treatment.TEXT
        }
        wanted = sorted({part for spans in candidates.values() for _, _, part in spans})
        if not wanted:
            return {}
        kinds: dict[str, Kind] = {}
        for kind in (Kind.ADDRESS, Kind.NAME):
            for part in await self._vault.find_known(work.exchange.tenant, kind, wanted):
                kinds[part] = kind
        return {
            text: [
                (start, end, part, kinds[part])
                for start, end, part in known.choose([span for span in spans if span[2] in kinds])
            ]
            for text, spans in candidates.items()
        }

    def _pieces(self, work: Work, prose: Prose, known_parts: Sequence[tuple[int, int, str, Kind]]) -> list[Piece]:
        text, spec, places = prose.text, prose.target.spec, work.places(prose.target)
        origin = Origin(
            spec.entity if spec is not None else work.entity,
            spec.name if spec is not None else UNDECLARED,
            places[0] if places else None,
        )
        found = recognise.find(text) if prose.target.treatment is Treatment.TEXT or runs(text) else []
        if not found and (whole := recognise.whole(text)) is not None:
            found = [whole]
        taken = work.returned.spans(text)
        pieces = [
            Piece(hit.start, hit.end, NewValue(hit.kind, hit.text, origin, verbatim=True))
            for hit in found
            if _apart(hit.start, hit.end, taken)
        ]
        taken += [(piece.start, piece.end) for piece in pieces]
        pieces += [
            Piece(start, end, NewValue(kind, part, origin))
            for start, end, part, kind in known_parts
            if _apart(start, end, taken)
        ]
        return sorted(pieces, key=lambda piece: piece.start)

    async def _write_pieces(self, work: Work, prose: Sequence[Prose]) -> None:
        flat = [(one, piece) for one in prose for piece in one.pieces if not piece.surrogate]
        exchange = work.exchange
        surrogates = await self._placed(work, [(one.target, piece.value) for one, piece in flat])
        for (one, piece), surrogate in zip(flat, surrogates, strict=True):
            piece.surrogate = surrogate
            origin = piece.value.origin
            exchange.written.append((origin.entity, origin.field, piece.value.kind))
            for record in work.places(one.target)[1:]:
                work.shared.append((surrogate, Origin(origin.entity, origin.field, record)))
        for one in prose:
            out, at = [], 0
            for piece in one.pieces:
                out.append(one.text[at : piece.start] + piece.surrogate)
                at = piece.end
            text = "".join(out) + one.text[at:]
            if text != one.target.leaf.text:
                one.target.leaf.new = text


def _apart(start: int, end: int, taken: Iterable[tuple[int, int]]) -> bool:
    return all(end <= at or start >= stop for at, stop in taken)


def runs(text: str) -> bool:
    """True for running text, in which recognised parts are replaced even where no profile declares the field."""
    return any(char.isspace() or char in "，。；、！？：" for char in text.strip()) or any(
        "一" <= char <= "鿿" for char in text
    )
