"""Search by a clear value: the operand becomes the surrogate the CRM knows it under.

A search box is no oracle for hidden fields: a kind the role may not search is refused whatever the value is, and a
value that the role sees nowhere is treated as one that belongs to nobody: the reserved surrogate that matches nothing.
No recognised value reaches the CRM's search, and no known name or address that the searcher does not see: in a box that
searches everything it is replaced as well, and the answer shows the searcher's own words where the replacement stands,
so that it looks like the answer to words that nobody is called.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from gateway.body.leaf import Leaf
from gateway.comparing import Comparing
from gateway.digits import DigitFields
from gateway.exchange import Exchange
from gateway.merged import ask_each, may_ask_each
from gateway.parts import WILDCARDS, Answered, PartSearch, Question
from gateway.queries import Queries
from gateway.records import Records
from gateway.refusal import FIELD_NOT_SEARCHABLE, SEARCH_AMBIGUOUS, SEARCH_TOO_SHORT, Refusal
from gateway.sight import Sight
from gateway.sight import decided as _decision
from kms.scanner import Scanner
from kms.surrogate import no_match
from kms.tokens import NewValue, Origin, SurrogateVault, VaultEntry
from policies.decision import Form
from policies.operation import SearchRule, StorageForm
from policies.profile import FieldSpec
from policies.query.table import Tables
from policies.taxonomy import Kind
from privacy import recognise

CONDITION = "condition"  # field name of values that stand in a saved condition only


@dataclass(frozen=True, slots=True)
class Operand:
    """One search operand: its leaf and the field it is compared with, None for boxes that search everything.

    declared: the profile says that this is a search; other parameters are only looked at by recognisers. question:
    where the profile says how the CRM compares as well, so that parts of values can be answered. at_least: see
    `SearchRule`. query: the rule of a text that is a whole query; tables: the objects that it may name. operator: that
    of the clause it stands in.
    """

    leaf: Leaf
    spec: FieldSpec | None = None
    declared: bool = True
    question: Question | None = None
    at_least: int = 0
    query: SearchRule | None = None
    tables: Tables | None = None
    operator: str = "="


def _everywhere(_tenant: str) -> bool:
    return True


class Search:
    """Rewrites operands of search operations; one per process. migrated: see gateway.parts."""

    def __init__(
        self,
        vault: SurrogateVault,
        records: Records,
        migrated: Callable[[str], bool] = _everywhere,
        digits: DigitFields | None = None,
    ) -> None:
        self._vault = vault
        self._digits = digits
        self._sight = Sight(records)
        self._parts = PartSearch(vault, self._sight, migrated)
        self.migrated = migrated
        self.comparing = Comparing(migrated)
        self._queries = Queries(self._parts, self._operand, self._seen, migrated)

    async def rewrite(
        self,
        exchange: Exchange,
        scanner: Scanner,
        operand: Operand,
        fields: Mapping[tuple[str, str], FieldSpec] = MappingProxyType({}),
    ) -> None:
        """Set `leaf.new` when the operand is a personal value; fields: what the profile declares, by entity and name.

        Raises Refusal (FIELD_NOT_SEARCHABLE, SEARCH_…), KeysUnavailable, StoreUnavailable.
        """
        question, spec = operand.question, operand.spec
        if operand.query is not None:
            tables = operand.tables or Tables()
            await self._queries.rewrite(exchange, scanner, operand.leaf, operand.query, tables, fields)
            return
        if spec is not None and spec.form is StorageForm.FF1 and self._digits is not None:
            await self._digits.ask(exchange, operand.leaf, spec)
        elif spec is not None and spec.form is not StorageForm.SURROGATE:
            if operand.leaf.text.strip():
                raise Refusal(FIELD_NOT_SEARCHABLE, detail=str(spec.form), fields=(spec.name,))
            return
        elif question is not None and question.kinds:
            before = len(exchange.narrowed)
            await self._parts.rewrite(exchange, scanner, question, fields)
            if len(exchange.narrowed) > before:
                return
        else:
            await self._rewrite(exchange, scanner, operand, fields)
        leaf = operand.leaf
        if leaf.new is not None and len(leaf.path) == 1:
            exchange.echoes[leaf.path[0]] = (leaf.new, leaf.text)

    async def answer(
        self, exchange: Exchange, scanner: Scanner, question: Question, fields: Mapping[tuple[str, str], FieldSpec]
    ) -> Answered | None:
        """What stands in the CRM for an operand of a declared field; raises as `rewrite` does."""
        return await self._parts.answer(exchange, scanner, question, fields)

    async def _operand(
        self,
        exchange: Exchange,
        scanner: Scanner,
        leaf: Leaf,
        fields: Mapping[tuple[str, str], FieldSpec],
        *,
        declared: bool,
    ) -> None:
        """One operand inside a query, compared with what no single field describes."""
        await self._rewrite(exchange, scanner, Operand(leaf, None, declared), fields)

    async def _rewrite(
        self, exchange: Exchange, scanner: Scanner, operand: Operand, fields: Mapping[tuple[str, str], FieldSpec]
    ) -> None:
        raw = operand.leaf.text
        text = raw.strip().strip(WILDCARDS).strip()
        if not text or scanner.whole(text) is not None:
            return
        found = recognise.whole(text)
        if found is not None:
            self._require_searchable(exchange, operand, found.kind)
            seen = await self._seen(exchange, found.kind, found.text)
            if len(seen) > 1 and may_ask_each(exchange, operand.operator):
                ask_each(exchange, operand.leaf, text, seen)
                return
            operand.leaf.new = raw.replace(text, await self._one(exchange, found.kind, found.text, scanner, seen))
            return
        parts = recognise.find(raw)
        if parts:
            out, at = [], 0
            for part in parts:
                self._require_searchable(exchange, operand, part.kind)
                seen = await self._seen(exchange, part.kind, part.text)
                out.append(raw[at : part.start] + await self._one(exchange, part.kind, part.text, scanner, seen))
                at = part.end
            operand.leaf.new = "".join(out) + raw[at:]
        elif operand.declared:
            await self._unrecognised(exchange, scanner, operand, raw, text, fields)

    async def _unrecognised(
        self,
        exchange: Exchange,
        scanner: Scanner,
        operand: Operand,
        raw: str,
        text: str,
        fields: Mapping[tuple[str, str], FieldSpec],
    ) -> None:
        """A name, an address, or a part of something: only the field, or the vault, can say what it is."""
        kind = operand.spec.kind if operand.spec is not None else None
        if kind is not None:
            self._require_searchable(exchange, operand, kind)
            kinds: tuple[str, ...] = (kind,)
        else:
            kinds = tuple(one for one in (Kind.NAME, Kind.ADDRESS) if self._searchable(exchange, operand, one))
        matches = [one for each in kinds for one in await self._seen(exchange, each, text)]
        if kind is not None and kind != Kind.NAME and not matches:
            # What a number column holds beside numbers ("see notes") stands there as short text.
            matches = await self._standing(exchange, await self._seen(exchange, Kind.NAME, text), operand.spec, {})
        if len(matches) > 1:
            # A name also stands in notes; what is searched for is the person, not the mention.
            matches = await self._standing(exchange, matches, operand.spec, fields) or matches
        if len(matches) > 1:
            if not may_ask_each(exchange, operand.operator):
                raise Refusal(SEARCH_AMBIGUOUS, detail=str(len(matches)))
            ask_each(exchange, operand.leaf, text, matches)
            return
        if not matches and len(text) < operand.at_least and not _decision(exchange).view.sees_everything:
            raise Refusal(SEARCH_TOO_SHORT)  # before anybody hidden is looked for
        if matches:
            operand.leaf.new = raw.replace(text, matches[0])
        elif kind is not None and not _decision(exchange).view.sees_everything:
            operand.leaf.new = raw.replace(text, no_match(kind, scanner.shapes))
        elif (known := await self._known_as(exchange, text)) is not None:
            reserved = no_match(known, scanner.shapes)
            operand.leaf.new = raw.replace(text, reserved)
            exchange.own_words[reserved] = text

    async def _known_as(self, exchange: Exchange, text: str) -> Kind | None:
        """Whether anybody, seen or not, has this name or address."""
        for kind in (Kind.NAME, Kind.ADDRESS):
            if await self._vault.find(exchange.tenant, kind, text):
                return kind
        return None

    async def _one(self, exchange: Exchange, kind: str, text: str, scanner: Scanner, seen: Sequence[str]) -> str:
        """What stands for a recognised value in the CRM, which can be one text only; raises Refusal SEARCH_AMBIGUOUS.

        A number has one surrogate, but for moments of a key rotation; the first of several would be a wrong answer,
        and of a comparison that excludes it more so.
        """
        if len(seen) > 1:
            raise Refusal(SEARCH_AMBIGUOUS, detail=str(len(seen)))
        if seen:
            return seen[0]
        operation = exchange.operation
        if operation is None or not operation.extra.get("kept") or not _decision(exchange).view.sees_everything:
            return no_match(kind, scanner.shapes)
        # A condition that the CRM keeps has to fit a value that is entered later.
        value = NewValue(kind, text, Origin(operation.entity, CONDITION, None), index_only=True)
        return (await self._vault.tokenise(exchange.tenant, [value], exchange.id))[0]

    async def _seen(self, exchange: Exchange, kind: str, text: str) -> Sequence[str]:
        """Surrogates of this value that the person sees somewhere, at least masked."""
        if kind not in exchange.searched:
            exchange.searched.append(kind)
        matches = await self._vault.find(exchange.tenant, kind, text)
        if _decision(exchange).view.sees_everything or not matches:
            return matches
        entries = await self._vault.resolve(exchange.tenant, matches)
        known = [entries[one] for one in matches if one in entries]
        return [one.surrogate for one in await self._sight.seen(exchange, known, Form.MASKED)]

    async def _standing(
        self,
        exchange: Exchange,
        matches: Sequence[str],
        spec: FieldSpec | None,
        fields: Mapping[tuple[str, str], FieldSpec],
    ) -> list[str]:
        """Those that stand in the searched field itself; without one, those in any field declared for their kind."""
        entries = await self._vault.resolve(exchange.tenant, matches) if matches else {}

        def stands(entry: VaultEntry) -> bool:
            for origin in entry.origins:
                declared = fields.get((origin.entity, origin.field))
                if spec is not None and (origin.entity, origin.field) == (spec.entity, spec.name):
                    return True
                if spec is None and declared is not None and declared.kind == entry.kind:
                    return True
            return False

        return [one for one in matches if one in entries and stands(entries[one])]

    def _searchable(self, exchange: Exchange, operand: Operand, kind: str) -> bool:
        view, spec = _decision(exchange).view, operand.spec
        rule = view.by_kind.get(kind) if spec is None else view.rule(spec.entity, spec.name, kind)
        return rule is not None and rule.searchable

    def _require_searchable(self, exchange: Exchange, operand: Operand, kind: str) -> None:
        if not self._searchable(exchange, operand, kind):
            raise Refusal(FIELD_NOT_SEARCHABLE, detail=kind)
