"""A whole query on its way to the CRM: what it may ask of which column, and its operands as the CRM knows them.

No query is an oracle. A field that the role may not search cannot be filtered, one that it does not see cannot be
sorted, grouped, computed or given another name; a column that the profile does not know counts as such a field for
everybody who does not see everything. Where the CRM holds placeholders nobody can sort or compute by them, because the
answer would be wrong. Whatever is not understood is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.body.leaf import Leaf
from gateway.exchange import Exchange
from gateway.parts import PartSearch, Question
from gateway.refusal import (
    FIELD_NOT_ORDERED,
    FIELD_NOT_SEARCHABLE,
    QUERY_RENAMES,
    QUERY_UNREADABLE,
    SEARCH_TOO_WIDE,
    Refusal,
)
from gateway.sight import decided
from kms.scanner import Scanner
from kms.surrogate import no_match
from policies.decision import FieldView, Form
from policies.operation import FieldSpec, SearchRule, StorageForm, Where
from policies.query.language import parse
from policies.query.parsed import Asked, Beginning, Compare, Operand, Purpose, Query, QueryInvalid, Test, Use
from policies.query.rewrite import rewritten, values_fit
from policies.query.table import Standing, Tables
from policies.taxonomy import DETERMINISTIC_KINDS, Kind

MOST_CHARS = {Where.QUERY: 8_000, Where.FORM: 100_000, Where.JSON: 100_000, Where.XML: 100_000}
"""Longest rewritten query: one in the address has to fit into a line of HTTP, percent-encoded."""
_ASKED = frozenset({Compare.EQUAL, Compare.AMONG, Compare.LIKE})
_COUNTS = frozenset({"count", "count_distinct", "countdistinct"})

Fields = Mapping[tuple[str, str], FieldSpec]


class OperandSearch(Protocol):
    """What looks at an operand that no single field describes (gateway.search)."""

    async def __call__(
        self, exchange: Exchange, scanner: Scanner, leaf: Leaf, fields: Fields, *, declared: bool
    ) -> None:
        """Set `leaf.new` where the text is a personal value."""
        ...


class Seen(Protocol):
    """Surrogates of a whole value that the person sees somewhere (gateway.search)."""

    async def __call__(self, exchange: Exchange, kind: str, text: str, /) -> Sequence[str]: ...


class Migrated(Protocol):
    """Whether a tenant's CRM holds no value in clear any more."""

    def __call__(self, tenant: str, /) -> bool: ...


class Queries:
    """Rewrites queries; one per process."""

    def __init__(self, parts: PartSearch, search: OperandSearch, seen: Seen, migrated: Migrated) -> None:
        self._parts = parts
        self._seen = seen
        self._search = search
        self._migrated = migrated

    async def rewrite(
        self, exchange: Exchange, scanner: Scanner, leaf: Leaf, rule: SearchRule, tables: Tables, fields: Fields
    ) -> None:
        """Set `leaf.new` to the query that the CRM gets.

        Raises Refusal (QUERY_…, FIELD_NOT_SEARCHABLE, SEARCH_…), KeysUnavailable, StoreUnavailable.
        """
        try:
            query = parse(rule.language, leaf.text, option=leaf.path[-1], table=rule.table)
        except QueryInvalid as unread:
            raise Refusal(QUERY_UNREADABLE, detail=unread.what) from None
        judge = _Judge(decided(exchange).view, tables, self._migrated(exchange.tenant))
        judge.require(query)
        answers: dict[tuple[int, int], Asked] = {}
        singles: dict[int, str] = {}
        for number, test in enumerate(query.tests):
            standing, spec = tables.standing(test.column)
            made_of = tables.made_of(test.column) if standing is Standing.FIELD else []
            for at, operand in enumerate(test.operands):
                if made_of:
                    whole = await self._composed(exchange, scanner, rule, test, operand, made_of, fields)
                    if whole is not None:
                        answers[number, at] = whole
                elif standing is Standing.FIELD and spec is not None:
                    asked = await self._field(exchange, scanner, rule, test, operand, spec, fields)
                    if asked is not None:
                        answers[number, at] = asked
                else:
                    like = test.compare is Compare.LIKE
                    declared = standing is Standing.TEXT
                    await self._other(exchange, scanner, query, operand, singles, fields, like=like, declared=declared)
        for operand in query.loose:
            await self._other(exchange, scanner, query, operand, singles, fields)
        if not answers and not singles:
            if query.text != leaf.text:
                leaf.new = query.text  # written anew by the reader of the language
            return
        try:
            leaf.new = rewritten(query, answers, singles)
        except ValueError:
            raise Refusal(QUERY_UNREADABLE, detail="value") from None
        if len(leaf.new) > MOST_CHARS.get(rule.where, 0):
            raise Refusal(SEARCH_TOO_WIDE)

    async def _field(
        self,
        exchange: Exchange,
        scanner: Scanner,
        rule: SearchRule,
        test: Test,
        operand: Operand,
        spec: FieldSpec,
        fields: Fields,
    ) -> Asked | None:
        """What an operand of a declared field becomes; None where it says nothing."""
        like = test.compare is Compare.LIKE
        # The operand as a clause of its own: how parts of values are compared is the same in every language.
        asks = SearchRule(rule.where, rule.selector, spec, compare="operator")
        leaf = Leaf((spec.name,), operand.text)
        question = Question(leaf, asks, spec, operator="like" if like else "=")
        made = await self._parts.answer(exchange, scanner, question, fields)
        if made is None:
            return None
        # A value in clear may stand beside its surrogate only while somebody who sees everything asks.
        without = [Beginning(one.text, one.ends) for one in made.hidden] if made.clear else []
        if not values_fit(rule.language, made.surrogates):
            raise Refusal(QUERY_UNREADABLE, detail="value")
        return Asked(made.surrogates, made.clear, without)

    async def _composed(
        self,
        exchange: Exchange,
        scanner: Scanner,
        rule: SearchRule,
        test: Test,
        operand: Operand,
        made_of: Sequence[tuple[str, FieldSpec]],
        fields: Fields,
    ) -> Asked | None:
        """A column that the CRM makes of others holds several placeholders, so its parts are asked instead.

        A name that is given whole is known as that of a person, and each of its parts stands for it.
        """
        like = test.compare is Compare.LIKE
        bare = _without_escapes(operand.text).strip("%").strip() if like else operand.text.strip()
        if not bare:
            return None
        starts, ends = like and operand.text.startswith("%"), like and operand.text.endswith("%")
        kinds = dict.fromkeys(spec.kind for _, spec in made_of if spec.kind is not None)
        known = [one for kind in kinds for one in await self._seen(exchange, kind, bare)]
        parts = []
        for number, (column, spec) in enumerate(made_of):
            values = list(known)
            # Inside one part: anywhere, at the beginning of the first, or at the end of the last one.
            within = (starts and ends) or (ends and number == 0) or (starts and number == len(made_of) - 1)
            if within and " " not in bare:
                question = Question(
                    Leaf((spec.name,), operand.text),
                    SearchRule(rule.where, rule.selector, spec, compare="operator"),
                    spec,
                    operator="like",
                )
                made = await self._parts.answer(exchange, scanner, question, fields)
                values += made.surrogates if made is not None and made.found else ()
            reserved = no_match(spec.kind or Kind.NAME, scanner.shapes)
            parts.append((column, list(dict.fromkeys(values)) or [reserved]))
        everything = decided(exchange).view.sees_everything
        return Asked((), everything and not self._migrated(exchange.tenant), (), parts)

    async def _other(
        self,
        exchange: Exchange,
        scanner: Scanner,
        query: Query,
        operand: Operand,
        singles: dict[int, str],
        fields: Fields,
        *,
        like: bool = False,
        declared: bool = False,
    ) -> None:
        """An operand of any other column: no recognised value reaches the CRM in it."""
        if not operand.quoted:
            return  # a number or a date: an id or an amount, as in a body
        leaf = Leaf(("query",), _without_escapes(operand.text) if like else operand.text)
        await self._search(exchange, scanner, leaf, fields, declared=declared)
        if leaf.new is None or leaf.new == leaf.text:
            return
        if not like:
            singles[operand.start] = leaf.new
            return
        new = leaf.new.strip("%")
        if any(sign in new for sign in "%_\\'"):
            raise Refusal(QUERY_UNREADABLE, detail="value")
        if query.language not in ("odata", "zoho"):  # else contains(…) and its like say it
            new = f"{'%' if operand.text.startswith('%') else ''}{new}{'%' if operand.text.endswith('%') else ''}"
        singles[operand.start] = new


@dataclass(frozen=True, slots=True)
class _Judge:
    """The rights over the columns of a query. migrated: whether the CRM holds no value in clear."""

    view: FieldView
    tables: Tables
    migrated: bool

    def require(self, query: Query) -> None:
        """Raises Refusal for a query that may not be asked."""
        for name in query.aliases:
            if name.lower() in self.tables.known:
                raise Refusal(QUERY_UNREADABLE, detail="alias")  # `Account.Name` could then mean two columns
        for use in query.uses:
            self._use(use)
        for test in query.tests:
            self._test(test)

    def _use(self, use: Use) -> None:
        standing, spec = self.tables.standing(use.column)
        if use.purpose is Purpose.SORT and (shown := self.tables.sorted_as(use.column)) is not None:
            standing, spec = Standing.FIELD, shown
        everything = self.view.sees_everything
        taken = standing in (Standing.FIELD, Standing.TEXT) or use.alias.lower() in self.tables.known
        if use.alias and taken and not everything:
            # The answer's rules go by names: no column may come under the name of another one.
            raise Refusal(QUERY_RENAMES)
        plainly = use.purpose is Purpose.SELECT and not use.function
        if standing is Standing.PLAIN or (plainly and (everything or not use.alias)):
            return
        if standing is Standing.FIELD and spec is not None:
            if not plainly and not self._may_count(use, spec):
                raise Refusal(FIELD_NOT_ORDERED, detail=use.purpose, fields=(spec.name,))
        elif not everything:
            raise Refusal(FIELD_NOT_SEARCHABLE, detail=use.purpose)

    def _may_count(self, use: Use, spec: FieldSpec) -> bool:
        """Whether placeholders give the right figure, to somebody who sees what stands behind them."""
        if spec.form is not StorageForm.SURROGATE or not self._sees_all(spec):
            return False
        if use.purpose is Purpose.AGGREGATE and use.function == "count":
            return True
        same = spec.kind in DETERMINISTIC_KINDS
        grouped = use.purpose is Purpose.GROUP and not use.function
        return same and (grouped or (use.purpose is Purpose.AGGREGATE and use.function in _COUNTS))

    def _sees_all(self, spec: FieldSpec) -> bool:
        """Whether the role sees this field of every record in clear."""
        if self.view.sees_everything:
            return True
        rule = self.view.rule(spec.entity, spec.name, spec.kind or "")
        return rule.own is rule.other is Form.CLEAR

    def _test(self, test: Test) -> None:
        standing, spec = self.tables.standing(test.column)
        everything = self.view.sees_everything
        if standing is Standing.PLAIN or (everything and standing is not Standing.FIELD):
            return
        if standing is Standing.TEXT and self.migrated and test.compare in (*_ASKED, Compare.EMPTY):
            return  # its words are nobody's secret, and its personal parts are placeholders
        if standing is not Standing.FIELD or spec is None:
            raise Refusal(FIELD_NOT_SEARCHABLE, detail=test.compare)
        if spec.form is not StorageForm.SURROGATE:
            raise Refusal(FIELD_NOT_SEARCHABLE, detail=spec.form, fields=(spec.name,))
        if not everything and not self.view.rule(spec.entity, spec.name, spec.kind or "").searchable:
            raise Refusal(FIELD_NOT_SEARCHABLE, detail=spec.kind or "", fields=(spec.name,))
        if test.compare not in (*_ASKED, Compare.EMPTY):
            raise Refusal(FIELD_NOT_ORDERED, detail=test.compare, fields=(spec.name,))


def _without_escapes(pattern: str) -> str:
    return pattern.replace("\\%", "%").replace("\\_", "_").replace("\\\\", "\\")
