"""Says of every string of a request what it is: declared, searched for, compared, left alone, or unknown.

The container it stands in says where it came from (query, path, form, JSON, XML, a table with labels); the profile says
the rest. JSON inside a form field and files inside a JSON document are opened here, too.
"""

import json as lax_json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway import attached, opaque
from gateway.body import form, json, json_lines, vcard, xlsx
from gateway.body.archive import ArchiveDocument
from gateway.body.enclosed import EnclosedFile, open_enclosed
from gateway.body.fault import BodyFault, BodyMalformed
from gateway.body.leaf import Container, Leaf
from gateway.body.limits import Limits as BodyLimits
from gateway.columns import require_columns
from gateway.exchange import Exchange
from gateway.parts import Question
from gateway.refusal import BODY_UNREADABLE, FIELD_RESPELLED, Refusal
from gateway.search import Operand
from gateway.table_rows import row_of
from gateway.treatment import UNDECLARED, Target, Treatment
from policies import comparison, element, form_row, import_row, selector
from policies.comparison import Compared
from policies.operation import WRITES, StorageForm
from policies.profile import Action, FieldSpec, Operation, Profile, SearchRule, Where
from policies.record_id import RecordIds
from policies.spelling import respelled
from privacy import recognise

Path = tuple[str, ...]
_MOST_READINGS = 20  # of one name that stands several times, where columns are named
FREE_TEXT_CHARS = 65_000  # what a note of an undeclared field may hold in every CRM tried
_STORES = frozenset({Action.CREATE, Action.UPDATE})


@dataclass(frozen=True, slots=True)
class Found:
    """One string of a request with the whole path to it, and where it came from."""

    where: Where
    path: Path
    leaf: Leaf


@dataclass(slots=True)
class Part:
    """One opened container of a request."""

    where: Where
    container: Container
    labels: bool = False

    def named(self) -> dict[str, str]:
        """Form fields by name; of several with one name the last counts, as frameworks have it."""
        return {leaf.path[0]: leaf.text for leaf in self.container.leaves if len(leaf.path) == 1}

    def fills(self, name: str) -> bool:
        """Whether a field of this name has a value, wherever it stands."""
        return any(leaf.path[0] == name and leaf.text for leaf in self.container.leaves if leaf.path)

    def named_of(self, names: Sequence[str]) -> dict[str, str]:
        """Those of these names that stand in the form."""
        return {name: value for name, value in self.named().items() if name in names} if names else {}


@dataclass(slots=True)
class Nested:
    """JSON inside a form field or parameter: written back into its leaf when something in it changed."""

    outer: Leaf
    container: Container

    def close(self) -> None:
        if any(leaf.new is not None for leaf in self.container.leaves):
            self.outer.new = self.container.encode().decode("utf-8")


@dataclass(slots=True)
class Sorting:
    """Says of every string of a request what it is."""

    exchange: Exchange
    operation: Operation
    profile: Profile
    limits: BodyLimits
    targets: list[Target] = field(default_factory=list)
    operands: list[Operand] = field(default_factory=list)
    nested: list[Nested | EnclosedFile] = field(default_factory=list)
    sealing: list[tuple[EnclosedFile, FieldSpec]] = field(default_factory=list)
    compared: list[Compared] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    clear: bool = False

    def take(self, part: Part) -> None:
        """Sort the strings of one container; raises Refusal for a table whose labels are values."""
        files = self._files(part)
        found = [one for one in self._found(part) if id(one.leaf) not in files]
        if part.labels:
            self._require_labels(found)
            self.targets += [self._labelled(one) for one in found]
            # A column of empty cells has no strings, but an import may empty what stands there.
            labels = part.container.columns if isinstance(part.container, xlsx.XlsxDocument | ArchiveDocument) else ()
            self.targets += [self._labelled(Found(part.where, (one,), Leaf((one,), ""))) for one in labels]
            return
        if self.profile.names_in_any_case:
            _require_spelled(self.operation, part)
        leaves = {one.path: one.leaf.text for one in found}
        # Which of several values of one name a CRM reads is its own affair, so each is judged.
        others: Sequence[Mapping[Path, str]] = ()
        if len(leaves) < len(found) and (self.operation.columns or self.profile.comparisons):
            others = doubled(found, leaves)
        rows = self.profile.places.rows_of(self.operation.id) if part.where is Where.JSON else None
        if rows is not None:
            self.columns += [text for path, text in leaves.items() if selector.matches(rows.header, path)]
        compared: list[Compared] = []
        if self.operation.action not in WRITES:
            compared = list(comparison.find(self.profile.comparisons, self.operation.id, part.where, leaves))
            for other in others:
                self.compared += comparison.find(self.profile.comparisons, self.operation.id, part.where, other)
        self.compared += compared
        for one_reading in (leaves, *others) if self.operation.columns else ():
            require_columns(self.exchange, self.operation, part.where, one_reading, clear=self.clear)
        searching = {
            path: (operator, spec, rule)
            for path, operator, spec, rule in selector.search_operands(self.operation, part.where, leaves)
        }
        by_path = {one.path: one.leaf for one in found} if searching else {}
        by_row = form_row.has_rows(self.operation)
        rows_brought = (
            import_row.rows_of(self.operation, leaves, self.profile.record_ids) if part.where is Where.JSON else {}
        )
        for one in found:
            if one.path in searching:
                spec, rule = searching[one.path][1:]
                if rule.language:
                    self.operands.append(Operand(one.leaf, query=rule, tables=self.profile.tables))
                    continue
                if spec is None:
                    # The column says what an operand is, so that nobody hidden makes a difference.
                    spec = next((asked.fields[0] for asked in compared if asked.asks_with(one.path)), None)
                if part.where is Where.PATH and self.operation.action in _STORES and spec is not None:
                    # A write to a key that no record has yet makes one: the value is stored, not looked up.
                    self.targets.append(Target(one.leaf, Treatment.VALUE, spec, (), path=None))
                    continue
                if not one.leaf.bare or (spec is not None and spec.kind is not None):  # else an id or an amount
                    question = self._question(part, one, searching[one.path], by_path)
                    self.operands.append(
                        Operand(
                            one.leaf,
                            spec,
                            question=question,
                            at_least=rule.at_least,
                            operator=searching[one.path][0],
                        )
                    )
                continue
            treatment, spec = selector.treatment(
                self.operation, one.path, one.leaf.siblings, text=one.leaf.text, leaves=leaves
            )
            if part.where in (Where.QUERY, Where.PATH):
                if treatment is not selector.Treatment.LEAVE:
                    self.operands.append(Operand(one.leaf, None, declared=False))
                continue
            ids = self.profile.record_ids
            records = self._row(part, one, leaves, ids) if by_row else None
            if records == () and not one.leaf.text.strip():
                treatment = selector.Treatment.LEAVE  # nothing in a new row, or in the row that scripts copy
            target = self._target(one, treatment, spec, records)
            brought = rows_brought.get(one.path[:-1]) if rows_brought else None
            if brought is not None:
                target = replace(target, row=brought.key)
                if brought.record is not None and spec is not None and spec.entity == self.operation.entity:
                    target = replace(target, records=(brought.record,))
            self.targets.append(target)
        if isinstance(part.container, json.JsonDocument | json_lines.JsonLines):
            self.targets += self._emptied(part.container)
        elif part.where is Where.XML:
            self.targets += self._emptied_by_name(found)

    def _row(self, part: Part, one: Found, leaves: Mapping[Path, str], ids: RecordIds) -> tuple[str, ...] | None:
        """The record of the row or element a value stands in."""
        if part.where is Where.XML:
            return element.records_beside(self.operation, one.path, one.leaf.siblings, ids)
        return form_row.row_records(self.operation, one.path, leaves, ids)

    def _emptied_by_name(self, found: Iterable[Found]) -> Iterator[Target]:
        """Fields that an XML body empties by naming them, as if an empty text stood there."""
        for one in found:
            for spec in element.emptied(self.operation.rules, one.path, one.leaf.text):
                records = element.records_beside(self.operation, one.path, one.leaf.siblings, self.profile.record_ids)
                free = spec.kind is None and spec.form is StorageForm.SURROGATE
                treatment = Treatment.TEXT if free else Treatment.VALUE
                yield Target(Leaf(one.path, ""), treatment, spec, records, alone=True, path=one.path)

    def _emptied(self, document: json.JsonDocument | json_lines.JsonLines) -> Iterator[Target]:
        """Declared fields that a JSON document empties with null or false, as if an empty text stood there."""
        for leaf in document.blanks:
            found = selector.rule_for(self.operation.rules, leaf.path, leaf.siblings)
            spec = found[1] if found is not None else None
            if spec is not None and not self.operation.left_alone:
                free = spec.kind is None and spec.form is StorageForm.SURROGATE
                alone = selector.names_one_place(self.operation, leaf.path, leaf.siblings)
                yield Target(leaf, Treatment.TEXT if free else Treatment.VALUE, spec, alone=alone, path=leaf.path)

    def _question(
        self,
        part: Part,
        one: Found,
        asked: tuple[str, FieldSpec | None, SearchRule],
        leaves: Mapping[Path, Leaf],
    ) -> Question | None:
        """What is asked, where the profile says how the CRM compares."""
        operator, spec, rule = asked
        if not rule.compare:
            return None
        if rule.compare != "operator":
            if not isinstance(part.container, form.FormDocument) and self.operation.merge is None:
                return None
            return Question(one.leaf, rule, spec, operator, several=self.operation.extra.get("several", "q_filter"))
        many = operator in selector.LISTS
        place = one.path[: -2 if many else -1]
        column, operator_leaf = leaves.get((*place, "0")), leaves.get((*place, "1"))
        bounded = (*place, "3") not in leaves
        return Question(one.leaf, rule, spec, operator, column, operator_leaf, bounded, many)

    def _found(self, part: Part) -> Iterator[Found]:
        """Every string of a container; a form field or parameter that holds JSON gives the strings inside it."""
        for leaf in part.container.leaves:
            inside = None
            if part.where in (Where.QUERY, Where.FORM) and not part.labels and not self._declared(part.where, leaf):
                inside = _open_nested(leaf)
            if inside is None:
                yield Found(part.where, leaf.path, leaf)
                continue
            self.nested.append(Nested(leaf, inside))
            for inner in inside.leaves:
                yield Found(part.where, (*leaf.path, *inner.path), inner)

    def _files(self, part: Part) -> set[int]:
        """Take the files that stand in the strings of a JSON document, as if they were uploaded; the ids of those."""
        if part.where is not Where.JSON:
            return set()
        leaves = {leaf.path: leaf.text for leaf in part.container.leaves}
        taken: set[int] = set()
        rules = attached.marked(self.operation)
        for leaf in part.container.leaves:
            file = open_enclosed(leaf, leaves, self.limits)
            if file is None:
                attached.require_file(rules, leaf)
                continue
            taken.add(id(leaf))
            spec = attached.seal_of(attached.rule_at(rules, file.keys), file.media, file.container)
            if spec is not None:
                self.sealing.append((file, spec))
                continue
            opaque.require_passing(self.operation.opaque, file.media, file.container)
            if file.container is not None:
                self.take(Part(Where.FORM, file.container, labels=True))
                self.nested.append(file)
            else:
                attached.require_opaque(file.media)
        return taken

    def _declared(self, where: Where, leaf: Leaf) -> bool:
        """Whether the profile says what the string itself is, so that brackets around it change nothing."""
        if selector.rule_for(self.operation.rules, leaf.path, text=leaf.text) is not None:
            return True
        queries = (rule for rule in self.operation.searches if rule.language and rule.where is where)
        return any(selector.matches(rule.selector, leaf.path) for rule in queries)

    def _target(
        self,
        found: Found,
        treatment: selector.Treatment,
        spec: FieldSpec | None,
        records: tuple[str, ...] | None = None,
    ) -> Target:
        """records: of the row it stands in, where the form has rows."""
        leaf = found.leaf
        path = leaf.path if found.path == leaf.path else None
        if treatment is selector.Treatment.LEAVE:
            return Target(leaf, Treatment.LEAVE, path=path)
        if treatment is selector.Treatment.WHOLE:
            # A number without quotes is an id or an amount; only a profile can say that it is a phone.
            return Target(leaf, Treatment.LEAVE if leaf.bare else Treatment.WHOLE, path=path)
        alone = spec is not None and selector.names_one_place(self.operation, found.path, leaf.siblings, text=leaf.text)
        alone = alone or bool(records and spec is not None)  # its row is one place, though the rule names many
        spec = spec or FieldSpec(self.operation.entity, UNDECLARED, None, FREE_TEXT_CHARS)
        if treatment is selector.Treatment.TEXT and spec.form is StorageForm.SURROGATE:
            return Target(leaf, Treatment.TEXT, spec, records, alone, path)
        return Target(leaf, Treatment.VALUE, spec, records, alone, path)

    def _labelled(self, found: Found) -> Target:
        """A cell of an imported file: its column label says what it is, in any language the profile knows."""
        if not found.path:  # a whole text, read by people as a note is
            note = FieldSpec(self.operation.entity, UNDECLARED, None, FREE_TEXT_CHARS)
            return Target(found.leaf, Treatment.TEXT, note, ())
        label = found.path[0]
        spec = self.profile.field_for_label(vcard.LABELS.get(label, label)) if label else None
        if spec is None:
            return Target(found.leaf, Treatment.WHOLE, None, ())
        free = spec.kind is None and spec.form is StorageForm.SURROGATE
        row = row_of(found.leaf) if found.leaf.siblings else ""
        return Target(found.leaf, Treatment.TEXT if free else Treatment.VALUE, spec, (), row=row)

    def _require_labels(self, found: Sequence[Found]) -> None:
        """A table without a header row would keep its first person in clear, as labels."""
        if any(recognise.whole(label) is not None for label in {one.path[0] for one in found if one.path}):
            raise Refusal(BODY_UNREADABLE, detail="header-row")


def doubled(found: Sequence[Found], leaves: Mapping[Path, str]) -> list[dict[Path, str]]:
    """Other readings of leaves of which several have one path: the first of each, the second, and so on."""
    ranks: list[dict[Path, str]] = []
    seen: dict[Path, int] = {}
    for one in found:
        rank = seen[one.path] = seen.get(one.path, -1) + 1
        if rank == len(ranks):
            ranks.append({})
        ranks[rank][one.path] = one.leaf.text
    if len(ranks) > _MOST_READINGS:
        raise BodyMalformed("field-repeated")
    return [{**leaves, **rank} for rank in ranks]


def _require_spelled(operation: Operation, part: Part) -> None:
    """A CRM that takes names in any case would fill a declared field by a name that no rule covers."""
    if part.where not in (Where.JSON, Where.FORM, Where.XML):
        return
    blanks = part.container.blanks if isinstance(part.container, json.JsonDocument | json_lines.JsonLines) else ()
    name = respelled(operation, (leaf.path for leaf in (*part.container.leaves, *blanks)))
    if name is not None:
        raise Refusal(FIELD_RESPELLED, fields=(name,))


def _open_nested(leaf: Leaf) -> Container | None:
    stripped = leaf.text.strip()
    if len(stripped) < 2 or stripped[0] + stripped[-1] not in ("{}", "[]"):
        return None
    try:
        return json.open_json(stripped.encode("utf-8"), None)
    except (BodyFault, UnicodeEncodeError):
        if _is_lax_json(stripped):
            raise BodyMalformed("json-nested") from None
        return None  # text that merely looks like JSON; it is judged as text


def _is_lax_json(text: str) -> bool:
    """Whether a more lenient reader takes it for JSON (the same key twice, NaN): it would read what was not judged."""
    try:
        lax_json.loads(text)
    except ValueError:
        return False
    except RecursionError:
        return True
    return True
