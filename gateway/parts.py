"""Search by a part of a value, in the columns for which a profile says how the CRM compares.

The part finds values in the vault; the CRM is asked for their surrogates, one or several. Only values count that the
person sees in clear: of a masked one every guessed sign would be confirmed. A whole value may be searched for as
before where it is seen at least masked. Nothing that is typed reaches the CRM, except where a person who sees
everything searches a CRM that is not fully protected yet (`migrated` is false) and so may hold it in clear, and in
columns that hold unprotected text as well (`kinds`, `beside`), unless it is a recognised value or a known name. In a
CRM that is not fully protected those columns are asked only for who sees all kinds in them: they may hold a value in
clear that a search would confirm sign by sign.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from gateway import narrow
from gateway.body.leaf import Leaf
from gateway.exchange import Exchange, Narrowed
from gateway.merged import ask_each, may_ask_each
from gateway.refusal import (
    FIELD_NOT_SEARCHABLE,
    SEARCH_AMBIGUOUS,
    SEARCH_NOT_READY,
    SEARCH_TOO_SHORT,
    SEARCH_TOO_WIDE,
    SEARCH_WHOLE_ONLY,
    Refusal,
)
from gateway.sight import Sight, decided
from kms import index
from kms.blind import IndexUnfinished, SearchTooWide, texts
from kms.index import SearchTooShort
from kms.scanner import Scanner
from kms.surrogate import DETERMINISTIC, no_match
from kms.tokens import SurrogateVault, VaultEntry
from policies.decision import Form
from policies.operation import SearchRule, Where
from policies.profile import FieldSpec
from policies.taxonomy import Kind
from privacy import recognise

WILDCARDS = "%*"
MOST_LOOKED_AT = 5000
"""Values of a tenant that one search may open, whoever they belong to."""
MOST_ASKED_FOR = {Where.QUERY: 300, Where.FORM: 2000, Where.JSON: 2000, Where.XML: 2000}
"""Surrogates that the CRM is asked for at once; those of a query have to fit into a line of HTTP."""
_NO_ACCIDENT = 7
"""Signs that a surrogate has by chance so seldom that a text of them was meant."""
_CODE = re.compile(r"(?=[^0-9]*[0-9])[A-Za-z0-9/-]{1,10}\Z")
_NUMBERS = frozenset({Kind.EMAIL, Kind.PHONE, Kind.ID_CARD, Kind.BANK_CARD})

Fields = Mapping[tuple[str, str], FieldSpec]


@dataclass(frozen=True, slots=True)
class Question:
    """One operand with what its search rule says about it.

    column and operator: of a clause, and the leaves they stand in; bounded: nothing follows the operand in its clause.
    many: the operand is one of a list. several: the CRM's parameter that takes further conditions.
    """

    leaf: Leaf
    rule: SearchRule
    spec: FieldSpec | None
    operator: str = "="
    column: Leaf | None = None
    operator_leaf: Leaf | None = None
    bounded: bool = True
    many: bool = False
    several: str = ""

    @property
    def how(self) -> str:
        """The comparison of `kms.index` that the CRM makes."""
        if self.rule.compare != "operator":
            return self.rule.compare
        return "like" if self.operator.endswith("like") else "equals"

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Kinds of values that stand in the column."""
        if self.spec is not None:
            return () if self.spec.kind is None else (self.spec.kind,)
        if self.rule.among:
            return tuple(dict.fromkeys(one.kind for one in self.rule.among if one.kind is not None))
        name = self.column.text if self.column is not None else ""
        by_column = self.rule.kinds or {}
        return by_column.get(name) or by_column.get(name.rpartition(".")[2], ())


@dataclass(frozen=True, slots=True)
class Answered:
    """What the CRM is to be asked for instead of an operand.

    surrogates: at least one, the reserved one where nothing fits; found: whether something does; clear: ask for the
    text as typed as well, but for what has one of the `hidden` shapes. how, text, bare: the comparison and what it is
    about.
    """

    surrogates: Sequence[str]
    found: bool
    clear: bool
    hidden: Sequence[narrow.Shape]
    how: str
    text: str
    bare: str


class PartSearch:
    """Answers questions about parts; one per process. migrated: whether a tenant's CRM holds no value in clear."""

    def __init__(self, vault: SurrogateVault, sight: Sight, migrated: Callable[[str], bool]) -> None:
        self._vault = vault
        self._sight = sight
        self._migrated = migrated

    async def rewrite(self, exchange: Exchange, scanner: Scanner, question: Question, fields: Fields) -> None:
        """Ask the CRM for surrogates instead; raises Refusal, KeysUnavailable, StoreUnavailable."""
        made = await self.answer(exchange, scanner, question, fields)
        if made is None:
            return
        matches = made.surrogates if made.found else ()
        if question.column is not None:
            self._ask_clause(question, made.surrogates, made.bare, made.hidden if made.clear else None)
        elif not question.rule.lookup:
            beside = made.clear and not self._migrated(exchange.tenant) and _by_no_accident(made.bare)
            self._ask_one(exchange, question, matches, made.surrogates[0], made.bare, clear=made.clear, beside=beside)
        elif made.clear or len(matches) > 1:
            self._ask_beside(exchange, question, matches, made.how, made.text, made.hidden if made.clear else None)
        else:
            question.leaf.new = question.leaf.text.replace(made.text, made.surrogates[0])

    async def answer(self, exchange: Exchange, scanner: Scanner, question: Question, fields: Fields) -> Answered | None:
        """What stands for the operand in the CRM; None where it says nothing, or is a surrogate already.

        Raises Refusal, KeysUnavailable, StoreUnavailable.
        """
        raw = question.leaf.text
        how = question.how
        text = raw if how == "like" else raw.strip().strip(WILDCARDS).strip()
        bare = text.strip(WILDCARDS + " ") if how == "like" else text
        if not bare or scanner.whole(bare) is not None:
            return None
        recognised = recognise.whole(bare)
        kinds = self._kinds(exchange, question, recognised.kind if recognised is not None else None)
        matches = await self._matches(exchange, question, kinds, how, text, bare, fields)
        if not matches and recognised is None:
            self._require_answerable(exchange, kinds, how, fields)
        where = question.rule.where
        if len(matches) > MOST_ASKED_FOR[where]:
            raise Refusal(SEARCH_TOO_WIDE)
        migrated = self._migrated(exchange.tenant)
        clear = decided(exchange).view.sees_everything and not migrated
        if question.spec is None and recognised is None and not clear and (migrated or _sees_all(exchange, kinds)):
            # Such a column also holds what is not protected (web sites, accounts elsewhere): ask for that as typed.
            clear = not await self._is_known(exchange, bare)
        reserved = no_match(recognised.kind if recognised is not None else kinds[0], scanner.shapes)
        hidden = narrow.shapes_of(tuple(dict.fromkeys((*kinds, Kind.NAME))), scanner.shapes)
        return Answered(matches or [reserved], bool(matches), clear, hidden, how, text, bare)

    def _kinds(self, exchange: Exchange, question: Question, recognised: str | None) -> tuple[Kind, ...]:
        """Kinds to look among; raises Refusal FIELD_NOT_SEARCHABLE where the person may not."""
        spec, view = question.spec, decided(exchange).view
        if recognised is not None and not self._searchable(exchange, recognised, spec):
            raise Refusal(FIELD_NOT_SEARCHABLE, detail=recognised)
        kinds = dict.fromkeys(question.kinds)
        if recognised is not None:
            kinds[Kind(recognised)] = None
        allowed = tuple(one for one in kinds if view.sees_everything or self._searchable(exchange, one, spec))
        if not allowed or (spec is not None and spec.kind is not None and spec.kind not in allowed):
            raise Refusal(FIELD_NOT_SEARCHABLE, detail=next(iter(kinds), ""))
        exchange.searched += [one for one in allowed if one not in exchange.searched]
        return allowed

    def _searchable(self, exchange: Exchange, kind: str, spec: FieldSpec | None) -> bool:
        view = decided(exchange).view
        rule = view.by_kind.get(kind) if spec is None else view.rule(spec.entity, spec.name, kind)
        return rule is not None and rule.searchable

    async def _matches(
        self,
        exchange: Exchange,
        question: Question,
        kinds: Sequence[Kind],
        how: str,
        text: str,
        bare: str,
        fields: Fields,
    ) -> list[str]:
        """Surrogates of what fits: whole values that are seen at least masked, parts of those seen in clear."""
        found: dict[str, VaultEntry] = {}
        begins = (question.rule.begins or {}).get(question.column.text, ()) if question.column is not None else ()
        typed = text
        for kind in kinds:
            text = typed.lstrip("%") if how == "like" and kind in begins else typed
            whole = await self._vault.find(exchange.tenant, kind, bare)
            entries = list((await self._vault.resolve(exchange.tenant, whole)).values()) if whole else []
            if kind not in DETERMINISTIC:
                # An alias ("last first") is found as well, but the column holds one of the two.
                wanted = index.pattern(how, text)
                entries = [one for one in entries if any(index.matches(kind, wanted, each) for each in texts(one))]
            entries = await self._sight.seen(exchange, entries, Form.MASKED)
            entries += await self._parts(exchange, kind, how, text, fields)
            found |= {one.surrogate: one for one in entries}
        spec = question.spec
        if question.rule.among:
            # A name has a surrogate for each record it stands in; those of notes and other records are not asked for.
            places = {(one.entity, one.name) for one in question.rule.among}
            asked = [one for one in found.values() if one.kind in DETERMINISTIC or _stands_among(one, places)]
            if may_ask_each(exchange, question.operator):
                return [one.surrogate for one in asked]
            return _fewest(asked, places)
        if spec is not None and Kind.NAME not in kinds:
            # What a number column holds beside numbers ("see notes") stands there as short text.
            others = await self._among_names(exchange, how, text, bare, fields)
            found |= {one.surrogate: one for one in others if _stands(one, spec)}
        if spec is not None and question.column is None:
            # A name also stands in notes; one that stands elsewhere only is not what the box is about.
            asked = [one for one in found.values() if one.kind != Kind.NAME or _stands(one, spec) or _could_stand(one)]
            if not question.rule.lookup and not may_ask_each(exchange, question.operator):
                return _fewest(asked, {(spec.entity, spec.name)})
            return [one.surrogate for one in asked]
        return list(found)

    async def _is_known(self, exchange: Exchange, text: str) -> bool:
        """Whether anybody, seen or not, has this name or address: it stays out of the CRM then."""
        for kind in (Kind.NAME, Kind.ADDRESS):
            if await self._vault.find(exchange.tenant, kind, text):
                return True
        return False

    async def _among_names(
        self, exchange: Exchange, how: str, text: str, bare: str, fields: Fields
    ) -> list[VaultEntry]:
        names = await self._vault.find(exchange.tenant, Kind.NAME, bare)
        whole = (await self._vault.resolve(exchange.tenant, names)).values() if names else ()
        seen = await self._sight.seen(exchange, whole, Form.MASKED)
        return seen + await self._parts(exchange, Kind.NAME, how, text, fields)

    async def _parts(self, exchange: Exchange, kind: Kind, how: str, text: str, fields: Fields) -> list[VaultEntry]:
        if how == "equals" or not _may_see(exchange, kind, fields):
            return []
        try:
            entries = await self._vault.search(exchange.tenant, kind, how, text, MOST_LOOKED_AT)
        except SearchTooShort:
            raise Refusal(SEARCH_TOO_SHORT) from None
        except SearchTooWide:
            raise Refusal(SEARCH_TOO_WIDE) from None
        except IndexUnfinished:
            raise Refusal(SEARCH_NOT_READY) from None
        return await self._sight.seen(exchange, entries, Form.CLEAR)

    def _require_answerable(self, exchange: Exchange, kinds: Sequence[Kind], how: str, fields: Fields) -> None:
        """Part of a number that the role sees masked at most: say so, whatever is stored, instead of finding none."""
        if how != "equals" and all(one in _NUMBERS and not _may_see(exchange, one, fields) for one in kinds):
            raise Refusal(SEARCH_WHOLE_ONLY, detail=kinds[0])

    def _ask_one(
        self,
        exchange: Exchange,
        question: Question,
        matches: Sequence[str],
        reserved: str,
        bare: str,
        *,
        clear: bool,
        beside: bool,
    ) -> None:
        """A box of a CRM that takes one text and no lists: one value, or what was typed where that may stand there.

        beside: some records may hold the text as it was typed, although others hold a surrogate of it.
        """
        values = [*matches, bare] if matches and beside else matches
        if len(values) > 1 and may_ask_each(exchange, question.operator):
            ask_each(exchange, question.leaf, bare, values)
            return
        if len(matches) > 1:
            raise Refusal(SEARCH_AMBIGUOUS, detail=str(len(matches)))
        if matches or not clear:
            question.leaf.new = question.leaf.text.replace(bare, (matches or [reserved])[0])

    def _ask_beside(
        self,
        exchange: Exchange,
        question: Question,
        matches: Sequence[str],
        how: str,
        text: str,
        hidden: Sequence[narrow.Shape] | None,
    ) -> None:
        """Empty the box and put the condition where the CRM takes lists."""
        leaf = question.leaf
        condition = narrow.q(question.rule.lookup, matches, how, None if hidden is None else text, hidden or ())
        exchange.narrowed.append(Narrowed(question.several, condition, question.rule.lookup, leaf.path[0], leaf.text))
        leaf.new = ""

    def _ask_clause(
        self, question: Question, matches: Sequence[str], bare: str, hidden: Sequence[narrow.Shape] | None
    ) -> None:
        """One clause of a domain: replace the value, or make a list of it."""
        leaf, column, operator = question.leaf, question.column, question.operator_leaf
        assert column is not None
        clear = [] if hidden is None else [leaf.text]
        if question.how == "equals" and (question.many or len(matches) + len(clear) == 1):
            leaf.json = narrow.members([*matches, *clear])
            return
        others: list[object] = []
        if hidden is not None and question.how == "like":
            for one in (question.rule.spread or {}).get(column.text, (column.text,)):
                others.append(narrow.in_clear(one, question.operator, leaf.text, hidden))
            for one in (question.rule.spread_begins or {}).get(column.text, ()):
                others.append(narrow.in_clear(one, question.operator, leaf.text.lstrip("%"), hidden))
        beside = (question.rule.beside or {}).get(column.text)
        if beside is not None and _CODE.match(bare) and recognise.whole(bare) is None:
            others.append([beside, question.operator, leaf.text.lstrip("%")])
        if len(matches) == 1 and not others and not (clear and question.how == "equals"):
            leaf.new = leaf.text.replace(bare, matches[0])
            return
        if operator is None or (others and not question.bounded):
            others = []
        members = [*matches, *clear] if question.how == "equals" else matches
        made = narrow.clause(column.text, question.operator, members, others)
        column.json, leaf.json = made.column, made.operand
        if operator is not None:
            operator.json = made.operator


def _may_see(exchange: Exchange, kind: str, fields: Fields) -> bool:
    """Whether the role sees values of a kind in clear anywhere at all."""
    view = decided(exchange).view
    if view.sees_everything:
        return True
    rules = [view.by_kind.get(kind)]
    rules += [view.rule(spec.entity, spec.name, kind) for spec in fields.values() if spec.kind == kind]
    return any(rule is not None and Form.CLEAR in (rule.own, rule.other) for rule in rules)


def _by_no_accident(text: str) -> bool:
    """Whether a text that stands somewhere in the CRM is no piece of a surrogate, whose signs mean nothing."""
    return len(text) >= _NO_ACCIDENT or not text.isascii()


def _sees_all(exchange: Exchange, kinds: Sequence[str]) -> bool:
    """Whether the role sees all values of these kinds in clear, so that a column of them in clear tells it nothing."""
    rules = [decided(exchange).view.by_kind.get(one) for one in kinds]
    return all(rule is not None and rule.own is rule.other is Form.CLEAR for rule in rules)


def _stands(entry: VaultEntry, spec: FieldSpec) -> bool:
    """Whether the value stands in a field of this name; one box serves the lists of several entities."""
    return any(one.field == spec.name for one in entry.origins)


def _fewest(entries: Sequence[VaultEntry], places: Collection[tuple[str, str]]) -> list[str]:
    """Surrogates for a box that takes one text: where several fit, those that stand in one of its fields.

    A number that a note spells in another way has a surrogate of its own.
    """
    standing = [one for one in entries if _stands_among(one, places)] if len(entries) > 1 else []
    return [one.surrogate for one in standing or entries]


def _stands_among(entry: VaultEntry, places: Collection[tuple[str, str]]) -> bool:
    return any((one.entity, one.field) in places for one in entry.origins)


def _could_stand(entry: VaultEntry) -> bool:
    """Whether a value may stand where nobody has told yet: it stands nowhere, or in a record that is not known."""
    return not entry.origins or any(one.record is None for one in entry.origins)
