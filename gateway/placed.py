"""The way out for fields that are found by place: dates kept beside the CRM, and cells at places the profile knows.

Rights are those over the field of the record that the place shows, never over what stands there. Where the record is
not known, or nothing is kept for it, people see six bullets and programs the placeholder: never another value.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from gateway.body import charset as charsets
from gateway.body.csv import open_csv
from gateway.body.fault import BodyFault
from gateway.body.leaf import Leaf
from gateway.body.media import Media
from gateway.body.xlsx import open_xlsx
from gateway.digit_sight import DigitSight
from gateway.exchange import Exchange
from gateway.places import Spot, in_html, in_leaves, opened, rules_of
from gateway.row_records import RowRecords
from gateway.sight import Sight
from gateway.verdict import PLACEHOLDER
from kms.beside import Beside, Candidate, standing
from policies.date_format import read_date
from policies.decision import Form
from policies.operation import FieldSpec, Operation, ShownRule, StorageForm
from policies.placeholder import generation
from policies.profile import Profile
from privacy import mask
from privacy.render import Context, encode

Values = Mapping[tuple[str, str, str], Sequence[Candidate]]


class Placed:
    """Opens what stands at declared places; one per process."""

    def __init__(self, beside: Beside, sight: Sight, rows: RowRecords, digits: DigitSight | None = None) -> None:
        self._digits = digits
        self._beside = beside
        self._sight = sight
        self._rows = rows

    async def render(self, exchange: Exchange, profile: Profile, kind: Media, charset: str, body: bytes) -> bytes:
        """The body with its dates shown to this person, everything else as it is; notes the cells it met by place.

        Raises KeysUnavailable, StoreUnavailable.
        """
        operation = exchange.operation
        if operation is not None and (kind is Media.CSV or (kind is Media.XLSX and profile.placed_in_workbooks)):
            return await self._table(exchange, profile, operation, kind, charset, body)
        rules = rules_of(profile.shown_rules, operation.id) if operation is not None and profile.shown_rules else ()
        if not rules or operation is None or kind not in (Media.HTML, Media.JSON):
            return body
        if kind is Media.JSON:
            return await self._json(exchange, rules, operation, profile.mask_char, body)
        codec = charsets.codec_of(charset)
        page = charsets.to_utf8(body, codec).decode("utf-8", "surrogateescape")
        shown = await self._html(exchange, rules, operation, profile.mask_char, page)
        if shown == page:
            return body
        return charsets.from_utf8(shown.encode("utf-8", "surrogateescape"), codec)

    @staticmethod
    def finds(profile: Profile, operation: Operation, labels: Iterable[str]) -> bool:
        """Whether a column of a table with these labels is opened here."""
        return any(_is_placed(_own_field(profile, operation, label), operation) for label in labels)

    async def _json(
        self, exchange: Exchange, rules: tuple[ShownRule, ...], operation: Operation, mask_char: str, body: bytes
    ) -> bytes:
        document = opened(body)
        if document is None:
            return body
        found = list(in_leaves(document, rules, operation))
        values = await self._values(exchange, [spot for _, spot in found])
        for leaf, spot in found:
            new = await self._shown(exchange, spot, values, mask_char)
            if new is not None:
                leaf.new = new
        taken = {id(leaf) for leaf, _ in found}
        for leaf in document.leaves:
            if id(leaf) not in taken and "<" in leaf.text:
                await self._fragment(exchange, rules, operation, mask_char, leaf)
        return document.encode() if any(leaf.new is not None for leaf in document.leaves) else body

    async def _table(
        self, exchange: Exchange, profile: Profile, operation: Operation, kind: Media, charset: str, body: bytes
    ) -> bytes:
        """A table whose columns are named as in import files; whose a row is, the names in it tell."""
        try:
            document = open_csv(body, charset) if kind is Media.CSV else open_xlsx(body)
        except BodyFault:
            return body  # what nobody can read as a table is rendered as the text it is
        specs = {label: _own_field(profile, operation, label) for label in {leaf.path[0] for leaf in document.leaves}}
        if not any(_is_placed(spec, operation) for spec in specs.values()):
            return body
        rows: dict[str, list[tuple[FieldSpec | None, str]]] = {}
        for leaf in document.leaves:
            rows.setdefault(leaf.path[1], []).append((specs[leaf.path[0]], leaf.text))
        records = await self._rows.of(exchange.tenant, operation.entity, rows)
        found: list[tuple[Leaf, Spot]] = []
        for leaf in document.leaves:
            spec = specs[leaf.path[0]]
            if spec is not None and _is_placed(spec, operation):
                whose = (records[leaf.path[1]],) if leaf.path[1] in records else ()
                found.append((leaf, Spot(0, len(leaf.text), leaf.text, spec, whose, False)))
        values = await self._values(exchange, [spot for _, spot in found])
        for leaf, spot in found:
            leaf.new = await self._shown(exchange, spot, values, profile.mask_char)
        return document.encode()

    async def _fragment(
        self, exchange: Exchange, rules: tuple[ShownRule, ...], operation: Operation, mask_char: str, leaf: Leaf
    ) -> None:
        """Markup inside a string of JSON: parts of a page that its scripts put in."""
        shown = await self._html(exchange, rules, operation, mask_char, leaf.text)
        if shown != leaf.text:
            leaf.new = shown

    async def _html(
        self, exchange: Exchange, rules: tuple[ShownRule, ...], operation: Operation, mask_char: str, page: str
    ) -> str:
        spots = in_html(page, rules, operation)
        values = await self._values(exchange, spots)
        out: list[str] = []
        at = 0
        for spot in spots:
            new = await self._shown(exchange, spot, values, mask_char)
            if new is not None:
                context = Context.HTML_ATTRIBUTE if spot.posted else Context.HTML_TEXT
                out += [page[at : spot.start], encode(new, context)]
                at = spot.end
        return "".join(out) + page[at:]

    async def _values(self, exchange: Exchange, spots: Iterable[Spot]) -> Values:
        """What is kept for the records on a page."""
        spots = list(spots)
        if self._digits is not None:
            await self._digits.load(exchange, spots)
        wanted: dict[FieldSpec, set[str]] = {}
        for spot in spots:
            if spot.spec.form is StorageForm.BESIDE:
                wanted.setdefault(spot.spec, set()).update(spot.records)
        values: dict[tuple[str, str, str], Sequence[Candidate]] = {}
        for spec, records in wanted.items():
            found = await self._beside.candidates(exchange.tenant, spec.entity, spec.name, sorted(records))
            values |= {(spec.entity, spec.name, record): some for record, some in found.items()}
        return values

    async def _shown(self, exchange: Exchange, spot: Spot, values: Values, mask_char: str) -> str | None:
        """What a place shows instead; None: what stands there."""
        spec = spot.spec
        if spec.form is StorageForm.FF1:
            if self._digits is None:
                raise RuntimeError("nobody is there to show digits that the profile declares")
            return await self._digits.shown(exchange, spot, mask_char)
        if spec.form is StorageForm.CELL:
            place = (spec.entity, spec.name, spot.records[0] if len(spot.records) == 1 else "")
            exchange.cells_at.setdefault(spot.text, set()).add(place)
            return None
        read = read_date(spec.dates, spot.text)
        if read is None:
            return None
        typed = exchange.retyped.get((spec.entity, spec.name))
        if typed is not None and spot.posted:
            return typed  # what this person typed in this very request comes back in the form
        day, spelled = read
        assert spec.placeholder is not None
        number = generation(spec.placeholder, day)
        record = _whose(spot, values, number)
        kept = _date_of(values.get((spec.entity, spec.name, record or ""), ()), number)
        form = await self._sight.form_at(exchange, spec, record)
        counted = (spec.entity, spec.name, record or "", form.name)
        exchange.shown[counted] = exchange.shown.get(counted, 0) + 1
        if number is None:
            # Not protected yet: no placeholder may go out for it, because saving that would lose the value.
            if form is Form.CLEAR:
                return None
            return _masked(spec, day, mask_char) if form is Form.MASKED else PLACEHOLDER
        if kept is not None and form is Form.CLEAR:
            return spelled.write(kept)
        if spot.posted:
            return None
        return _masked(spec, kept, mask_char) if kept is not None and form is Form.MASKED else PLACEHOLDER


def _whose(spot: Spot, values: Values, number: int | None) -> str | None:
    """Of the records that a place may show: the one that has what stands there, else the first that has anything."""
    some = {one: values[place] for one in spot.records if (place := (spot.spec.entity, spot.spec.name, one)) in values}
    own = (one for one, kept in some.items() if any(kept_one.generation == number for kept_one in kept))
    return next(own, next(iter(some), spot.records[0] if spot.records else None))


def _date_of(some: Sequence[Candidate], number: int | None) -> date | None:
    found = standing(some, number) if number is not None else None
    return found.value if found is not None and isinstance(found.value, date) else None


def _masked(spec: FieldSpec, day: date, mask_char: str) -> str:
    return mask.mask(str(spec.kind), day.isoformat(), char=mask_char)


def _own_field(profile: Profile, operation: Operation, label: str) -> FieldSpec | None:
    """What a column is: of fields that share their label the one of the records that are exported."""
    spec = profile.field_for_label(label)
    return None if spec is None else profile.field_specs.get((operation.entity, spec.name), spec)


def _is_placed(spec: FieldSpec | None, operation: Operation) -> bool:
    return spec is not None and spec.form is not StorageForm.SURROGATE and spec.entity == operation.entity
