"""GraphQL requests on their way in: each top-level field is an exchange of its own, and one refusal refuses all.

Values that are written go through the tokeniser, values that are compared become surrogates, and what nobody declared
is judged by recognisers; then the document and its variables are written anew where something changed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.batch import Batch
from gateway.batch import Part as BatchPart
from gateway.body import form
from gateway.body.leaf import Leaf
from gateway.collaborators import Outgoing
from gateway.exchange import Exchange
from gateway.facts import require_no_write
from gateway.parts import Answered, Question
from gateway.refusal import (
    FIELD_NOT_ORDERED,
    FIELD_NOT_SEARCHABLE,
    GRAPHQL_INTROSPECTION,
    GRAPHQL_PERSISTED,
    GRAPHQL_SUBSCRIPTION,
    GRAPHQL_TOO_COMPLEX,
    GRAPHQL_UNMAPPED,
    GRAPHQL_UNREADABLE,
    SEARCH_AMBIGUOUS,
    Refusal,
)
from gateway.search import Operand, Search
from gateway.sight import decided
from gateway.treatment import UNDECLARED, Target, Treatment
from kms.scanner import Scanner
from policies.batch import BatchRule
from policies.comparison import PART, Compared
from policies.graphql.asked import Asked
from policies.graphql.mapping import SCHEMA, Compare
from policies.graphql.part import Part, Stored, Test
from policies.graphql.request import Transport
from policies.graphql.rewrite import GONE, New, Rewrite
from policies.graphql.rights import problem
from policies.graphql.value import GraphqlUnreadable, Shape, Value
from policies.operation import FieldSpec, SearchRule, Where
from policies.profile import Profile

KIND = "graphql"
FREE_TEXT_CHARS = 65_000
_REASONS = {
    one.id: one
    for one in (
        FIELD_NOT_ORDERED,
        FIELD_NOT_SEARCHABLE,
        GRAPHQL_INTROSPECTION,
        GRAPHQL_PERSISTED,
        GRAPHQL_SUBSCRIPTION,
        GRAPHQL_TOO_COMPLEX,
        GRAPHQL_UNMAPPED,
        GRAPHQL_UNREADABLE,
    )
}
_PATTERNS = {Compare.PREFIX: "{}%", Compare.SUFFIX: "%{}", Compare.CONTAINS: "%{}%", Compare.LIKE: "{}"}


@dataclass(slots=True)
class GraphqlBatch(Batch):
    """A GraphQL request that was taken apart; one exchange for each part of `asked`, in order."""

    asked: Asked | None = None


class Protects(Protocol):
    """The part of gateway.inward that protects leaves."""

    @property
    def search(self) -> Search:
        """What turns operands into surrogates."""
        ...

    def scanner(self, tenant: str) -> Scanner:
        """The scanner of a tenant."""
        ...

    async def leaving(self, exchange: Exchange, profile: Profile) -> None:
        """Note what a deletion takes away."""
        ...

    async def protect_leaves(
        self, exchange: Exchange, profile: Profile, targets: Sequence[Target], operands: Sequence[Operand]
    ) -> None:
        """Protect leaves whose meaning is known."""
        ...


def take_apart(exchange: Exchange, asked: Asked, new_id: Callable[[], str]) -> GraphqlBatch:
    """The parts of a request; raises Refusal for one that is refused as it stands."""
    if asked.problem:
        raise refused(asked.problem, asked.what)
    batch = GraphqlBatch(BatchRule(KIND), asked=asked)
    for part in asked.parts:
        inner = Exchange(
            new_id(),
            exchange.received_at,
            exchange.head,
            exchange.tenant,
            exchange.client_address,
            exchange.crm_user,
            part.operation,
        )
        inner.principal, inner.language = exchange.principal, exchange.language
        batch.parts.append(BatchPart(inner, exchange.head.path))
    return batch


def refused(problem: str, what: str) -> Refusal:
    """The refusal of a request that cannot be read."""
    return Refusal(_REASONS.get(problem, GRAPHQL_UNREADABLE), detail=what)


async def protect(inward: Protects, exchange: Exchange, profile: Profile, batch: GraphqlBatch) -> Outgoing:
    """What the CRM gets instead; raises Refusal, KeysUnavailable, StoreUnavailable."""
    asked = batch.asked
    assert asked is not None
    assert asked.read is not None
    nothing = Part(0, "", SCHEMA, executed=False)  # a request for the schema alone has no part
    _require(exchange, asked, nothing, migrated=True)
    rewrite = Rewrite(asked.read)
    for part, one in zip(asked.parts, batch.exchanges, strict=True):
        await inward.leaving(one, profile)
        require_no_write(one, profile)
        await _Protecting(inward, one, profile, asked, part, rewrite).run()
        _gather(exchange, one)
    await _rest(inward, exchange, profile, asked, rewrite)
    try:
        return await _written(inward, exchange, profile, rewrite)
    except GraphqlUnreadable as fault:
        raise refused(fault.problem, fault.what) from None


def _require(exchange: Exchange, asked: Asked, part: Part, *, migrated: bool) -> None:
    found = problem(decided(exchange).view, asked, part, migrated=migrated)
    if found is not None:
        raise Refusal(_REASONS[found.reason], detail=found.detail, fields=(found.field,) if found.field else ())


async def _written(inward: Protects, exchange: Exchange, profile: Profile, rewrite: Rewrite) -> Outgoing:
    head = exchange.head
    if rewrite.read.transport is Transport.QUERY:
        return Outgoing(f"{head.path}?{rewrite.address(head.query)}", b"")
    body = rewrite.body()
    address = form.open_query(head.query)
    operands = [Operand(leaf, declared=False) for leaf in address.leaves]
    await inward.protect_leaves(exchange, profile, (), operands)
    return Outgoing(f"{head.path}?{address.text}" if head.query else head.path, body)


def _gather(exchange: Exchange, inner: Exchange) -> None:
    exchange.typed |= inner.typed
    exchange.own_words |= inner.own_words
    exchange.written += inner.written
    exchange.searched += [kind for kind in inner.searched if kind not in exchange.searched]


async def _rest(inward: Protects, exchange: Exchange, profile: Profile, asked: Asked, rewrite: Rewrite) -> None:
    """What no part names: variables and extensions that nobody uses, and default values without effect."""
    for call, default in asked.unused:
        for one in default.leaves():
            if one.shape is Shape.TEXT and one.text:
                rewrite.change(call, one, "")
    read = asked.read
    assert read is not None
    loose = [(call, path, value) for call, path, value in asked.rest if value.shape is Shape.TEXT]
    for each in read.calls:
        extensions = each.extensions
        if extensions is not None and read.transport is Transport.JSON and "persistedQuery" not in extensions.members:
            loose += [(each.number, ("extensions",), text) for text in extensions.leaves() if text.shape is Shape.TEXT]
    given = [(call, value, Leaf(path, value.text)) for call, path, value in loose]
    await inward.protect_leaves(exchange, profile, (), [Operand(asking, declared=False) for _, _, asking in given])
    for call, value, asking in given:
        rewrite.change(call, value, asking.new)


@dataclass(slots=True)
class _Protecting:
    """Protects one part; used once."""

    inward: Protects
    exchange: Exchange
    profile: Profile
    asked: Asked
    part: Part
    rewrite: Rewrite

    async def run(self) -> None:
        search, part = self.inward.search, self.part
        migrated = search.migrated(self.exchange.tenant)
        _require(self.exchange, self.asked, part, migrated=migrated)
        boxes = [Compared("", PART, box.fields, text=box.value.text.strip()) for box in part.boxes]
        search.comparing.require(self.exchange, boxes)
        self._owner()
        operands: list[Operand] = []
        waiting: list[tuple[Value, Leaf]] = []

        def ask(value: Value, operand: Operand) -> None:
            operands.append(operand)
            waiting.append((value, operand.leaf))

        for test in part.tests:
            if test.spec is None or test.spec.kind is None:
                for value in test.operands:
                    ask(value, Operand(Leaf(test.path, value.text)))
            elif test.compare is not Compare.EMPTY:
                await self._test(test, test.spec)
        for box in part.boxes:
            leaf = Leaf(box.path, box.value.text)
            rule = SearchRule(Where.JSON, box.path, compare="contains", among=box.fields)
            ask(box.value, Operand(leaf, question=Question(leaf, rule, None)))
        for path, value in part.loose:
            ask(value, Operand(Leaf(path, value.text), declared=False))
        targets = []
        rows: dict[int, dict[str, str]] = {}
        for one in part.stored:
            target = self._target(one, rows)
            targets.append(target)
            waiting.append((one.value, target.leaf))
        if targets or operands:
            await self.inward.protect_leaves(self.exchange, self.profile, targets, operands)
        for value, leaf in waiting:
            self._take(value, leaf)
        self.exchange.echoes.clear()  # of one box each, by a name that may stand in several parts

    def _owner(self) -> None:
        """Who owns the record that is written, where a field of the input says so."""
        exchange, named = self.exchange, self.part.named
        if not named or exchange.operation is None:
            return
        exchange.owner = self.profile.owner_from_body(exchange.operation, named) or exchange.owner
        exchange.posted |= {name: named[name] for name in self.profile.posted_fields if name in named}

    def _take(self, value: Value, leaf: Leaf) -> None:
        if leaf.new is not None and value.shape not in (Shape.TEXT, Shape.NUMBER):
            raise Refusal(GRAPHQL_UNMAPPED, detail="value")
        self.rewrite.change(self.part.call, value, leaf.new if leaf.new != leaf.text else None)

    def _target(self, one: Stored, rows: dict[int, dict[str, str]]) -> Target:
        """A value that is written; texts of one object share their siblings, by which a person's names are one."""
        row = rows.setdefault(id(one.row), dict(one.row))
        value = one.value
        null = value.shape is Shape.OTHER
        leaf = Leaf(one.path, "" if null else value.text, None, row, bare=value.shape is Shape.NUMBER)
        if one.text or (one.spec is not None and one.spec.kind is None):
            entity = self.part.operation.entity
            spec = one.spec or FieldSpec(entity, UNDECLARED, None, FREE_TEXT_CHARS)
            return Target(leaf, Treatment.TEXT, spec, alone=one.alone and one.spec is not None)
        if one.spec is None:
            return Target(leaf, Treatment.LEAVE if null or leaf.bare else Treatment.WHOLE)
        return Target(leaf, Treatment.VALUE, one.spec, alone=one.alone)

    async def _test(self, test: Test, spec: FieldSpec) -> None:
        """Operands of a declared field: each becomes one surrogate, or the test asks for a list of them."""
        scanner = self.inward.scanner(self.exchange.tenant)
        pattern = _PATTERNS.get(test.compare)
        rule = SearchRule(Where.JSON, test.path, spec, compare="operator")
        made: list[tuple[Value, Answered | None]] = []
        for value in test.operands:
            text = value.text if pattern is None else pattern.format(value.text)
            question = Question(Leaf(test.path, text), rule, spec, operator="=" if pattern is None else "like")
            search = self.inward.search
            made.append((value, await search.answer(self.exchange, scanner, question, self.profile.field_specs)))
        wanted = [self._wanted(value, one, like=pattern is not None) for value, one in made]
        if all(len(one) == 1 for one in wanted) and (pattern is None or all(one is None for _, one in made)):
            for (value, _), (text,) in zip(made, wanted, strict=True):
                self.rewrite.change(self.part.call, value, text if text != value.text else None)
            return
        if pattern is not None and wanted == [[value.text] for value, _ in made]:
            for value, _ in made:
                self.rewrite.change(self.part.call, value, None)
            return
        self._restructure(test, list(dict.fromkeys(text for one in wanted for text in one)))

    def _wanted(self, value: Value, made: Answered | None, *, like: bool) -> list[str]:
        """Texts that the CRM is asked for instead of one operand."""
        if made is None:
            return [value.text]
        if not made.clear:
            return list(made.surrogates)
        if like or not made.found:
            return list(made.surrogates) if made.found else [value.text]
        return [*made.surrogates, value.text]

    def _restructure(self, test: Test, texts: list[str]) -> None:
        call, mapping = self.part.call, self.asked.mapping
        if test.listed is not None and test.compare is Compare.AMONG:
            self._replace(call, test.listed, texts)
            return
        holder = test.holder
        equal, among = mapping.operator(Compare.EQUAL), mapping.operator(Compare.AMONG)
        if holder is None or len(holder.members) != 1 or not (among or (equal and len(texts) == 1)):
            if len(texts) != 1:
                raise Refusal(SEARCH_AMBIGUOUS, detail=str(len(texts)))
            for value in test.operands:
                self.rewrite.change(call, value, texts[0])
            return
        new: New = {equal: texts[0]} if equal and len(texts) == 1 else {among: texts}
        self._replace(call, holder, new)

    def _replace(self, call: int, whole: Value, new: New) -> None:
        self.rewrite.change(call, whole, new)
        for inner in (*whole.items, *whole.members.values()):
            if inner.use is not None:
                self.rewrite.change(call, inner, GONE)
            elif whole.use is None:
                for one in (*inner.items, *inner.members.values()):
                    if one.use is not None:
                        self.rewrite.change(call, one, GONE)
