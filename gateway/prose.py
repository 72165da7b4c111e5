"""Running text on its way in: masks go back, personal parts become surrogates, and the rest stays as it was typed.

What nobody declared is only touched when its whole text is a recognised value, or, in running text, where a recogniser
or a known name stands (DESIGN, section 1).
"""

from collections.abc import Iterable, Sequence
from functools import partial

from gateway.refusal import TEXT_PART_NOT_WRITABLE, Refusal
from gateway.reveal import PLACEHOLDER
from gateway.standing import note_text
from gateway.treatment import UNDECLARED, Prose, Target, Treatment, Work
from gateway.unchanged import parts_of, shown_text
from gateway.wording import Piece, keep_parts, locked_kinds
from gateway.writeback import WIRE, holds_edited_surrogate, holds_wire_mask, refused
from gateway.writer import Writer
from kms.scanner import Scanner
from kms.tokens import NewValue, Origin, SurrogateVault
from policies.taxonomy import Kind
from privacy import known, mask, recognise


class ProseTokeniser:
    """Replaces the personal parts of texts; one per process."""

    def __init__(self, vault: SurrogateVault, writer: Writer) -> None:
        self._vault = vault
        self._writer = writer

    async def protect(self, work: Work, scanner: Scanner, targets: Sequence[Target]) -> None:
        """Set `leaf.new` of every text that must change.

        Raises Refusal for masks and parts that cannot be put back, KeysUnavailable, StoreUnavailable.
        """
        prose: list[Prose] = []
        for target in targets:
            whole = work.returned.whole(target.leaf.text)
            if whole is not None and target.spec is not None:
                self._writer.share(work, target, whole, target.spec)
            prose.append(Prose(target, await self._put_back(work, scanner, target)))
        known_values = await self._known_values(work, prose)
        for one in prose:
            one.pieces = self._pieces(work, one, known_values.get(one.text, []))
        changed = [one for one in prose if not await self.keep_parts(work, scanner, one)]
        await self._write_pieces(work, changed)
        for target, spec in ((one.target, one.target.spec) for one in changed):
            if target.treatment is Treatment.TEXT and spec is not None:
                text = target.leaf.text if target.leaf.new is None else target.leaf.new
                note_text(work.exchange, scanner, work.stands(target, spec), text, alone=target.alone)

    async def keep_parts(self, work: Work, scanner: Scanner, prose: Prose) -> bool:
        """Personal parts of a free text that a role may not write are those that stand there; raises Refusal.

        True: nothing in the text was changed, and it goes on as the CRM holds it.
        """
        target, spec, tenant = prose.target, prose.target.spec, work.exchange.tenant
        if target.treatment is not Treatment.TEXT or spec is None:
            return False
        locked = locked_kinds(work.exchange, spec, target.records, declared=spec.name != UNDECLARED)
        if not locked:
            return False
        held = await shown_text(work.exchange, target.path)
        if held is not None:
            if await self._writer.same(work, scanner, target, spec, held):
                return True
            there = [await parts_of(self._vault, scanner, tenant, held)]
        else:
            stands = work.stands(target, spec)
            if await self._writer.is_open(work, stands):
                raise Refusal(TEXT_PART_NOT_WRITABLE, fields=(spec.name,))
            there = [await self._vault.at_origin(tenant, *place) for place in stands]
        inside, form = work.returned.inside(prose.text), partial(self._writer.loaded_form, work)
        await keep_parts(locked, spec, prose.pieces, inside, there, form, whole=target.alone or held is not None)
        return False

    async def _put_back(self, work: Work, scanner: Scanner, target: Target) -> str:
        """The text with the masks in it replaced by their surrogates; raises Refusal for those that cannot be."""
        text, out, at = target.leaf.text, [], 0
        for match in WIRE.finditer(text):
            entry = await self._writer.restored(work, scanner, target, match.group(), target.spec)
            if entry is not None:
                out.append(text[at : match.start()] + entry.surrogate)
                at = match.end()
        if out:
            text = "".join(out) + text[at:]
        row = work.row(target)
        if row is not None and target.spec is not None and target.treatment is Treatment.TEXT:
            text = row.unmasked(target.spec, text, work.mask_char)
        if text != target.leaf.text:
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
        if (row := work.row(prose.target)) is not None and spec is not None:
            for piece in pieces:  # a name that the note of that record holds already keeps its surrogate
                again = row.same(spec, piece.value.kind, piece.value.clear)
                if again is not None:
                    piece.surrogate = again.surrogate
                    work.met.append((again.surrogate, origin))
        return sorted(pieces, key=lambda piece: piece.start)

    async def _write_pieces(self, work: Work, prose: Sequence[Prose]) -> None:
        flat = [(one, piece) for one in prose for piece in one.pieces if not piece.surrogate]
        exchange = work.exchange
        surrogates = await self._writer.placed(work, [(one.target, piece.value) for one, piece in flat])
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
