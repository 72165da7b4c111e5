"""Who may do what: Casbin decides, compiled answers are looked up. The only module that imports casbin.

A bundle is loaded whole and never changed; what Casbin says about every declared field, kind and operation is
compiled once per (tenant, set of roles). An unknown role, an empty bundle or any failure inside Casbin denies.
`enforce` asks Casbin itself, and tests prove that the compiled answers are the same.
"""

import hashlib
import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

import casbin

from policies.asked_form import Ask, export_rule_of, rule_of
from policies.criterion import NOTHING, Criterion, Facts, asked_scope, holds
from policies.decision import Decision, FieldRule, FieldView, Form
from policies.duty import POWERS, Duty
from policies.operation import Action, FieldSpec, Operation
from policies.placement import departments, roles_alone
from policies.rows import Grant, Inheritance, is_role, parse_rows, personal
from policies.taxonomy import Kind

MODEL = Path(__file__).with_name("model.conf")
DEFAULT_POLICY = Path(__file__).with_name("default.csv")
ALLOWED, NOT_ALLOWED, WRITE_NOT_GRANTED = "allowed", "not-allowed", "write-not-granted"
# Compiled sets of roles that are kept; there are few in practice, the bound is against nonsense.
COMPILED_LIMIT = 512
APART = ("console.", "proof.")
"""Names under which only a grant counts that has them: `op:*` is every operation of the CRM, and of no proof."""
_FOR_ALL_TENANTS = "*"
_CLOSED = FieldView(policy_version="none", rules={}, by_kind={})
_EVERYTHING = FieldRule(Form.CLEAR, Form.CLEAR, writable=True, searchable=True)
RuleOf = Callable[[Ask, str], FieldRule]


def covers(asked: str, granted: str) -> bool:
    """Whether a granted object takes in the asked one.

    asked: `op:ID`, `kind:K`, or `field:ENTITY.FIELD#K` with a concrete kind; granted: the same with wild cards. Pages
    of the console, and proofs, are only taken in by a grant that names them: `op:*` is every operation of the CRM.
    """
    if asked == granted:
        return True
    family, _, name = granted.partition(":")
    asked_family, _, asked_name = asked.partition(":")
    if family == "op":
        if any(asked_name.startswith(apart) and not name.startswith(apart) for apart in APART):
            return False
        return asked_family == "op" and granted.endswith("*") and asked_name.startswith(name[:-1])
    if asked_family not in ("field", "kind"):
        return False
    asked_field, _, asked_kind = asked_name.partition("#")
    if family == "kind":
        return name in ("*", asked_kind if asked_family == "field" else asked_name)
    if family != "field" or asked_family != "field":
        return False
    field, _, kind = name.partition("#")
    if kind not in ("", "*", asked_kind):
        return False
    entity, _, field = field.partition(".")
    asked_entity, _, asked_field = asked_field.partition(".")
    return entity in ("*", asked_entity) and field in ("*", asked_field)


def grants(asked: str, granted: str, effect: str) -> bool:
    """Whether a right takes in the asked one: clear allows masked and export too; denying masked denies all sight."""
    if granted in ("*", asked):
        return True
    if effect == "allow":
        return granted == "clear" and asked in ("masked", "export")
    return granted == "masked" and asked in ("clear", "export", "reveal")


class _Compiled:
    """What one set of roles may do in one tenant, with the Casbin enforcers that say so, until a row begins or ends.

    Each question is put to an enforcer over the rows whose objects take in the asked one: with ten thousand rows that
    is a thousand times less work, and the others could not match. `enforce` asks over all rows; tests compare them.
    """

    def __init__(
        self, rows: Collection[Grant], links: Collection[Inheritance], who: str, roles: frozenset[str], tenant: str
    ) -> None:
        self._rows = tuple(rows)
        self._links = tuple(links)
        self._who = who
        self._roles = roles
        self._tenant = tenant
        self._whole: Any = None
        self.until = inf
        self.view = _CLOSED
        self.export_view = _CLOSED
        self.operations: dict[tuple[str, str], bool] = {}
        self.decisions: dict[tuple[str, str], Decision] = {}

    def ask(self, obj: str, right: str, scope: str) -> bool:
        """Casbin's answer over the rows about this object; any failure denies."""
        engine = self.engine([row for row in self._rows if covers(obj, row.obj)])
        return _ask(engine, self._who, self._tenant, obj, right, scope)

    def asking(self, objects: Collection[str], facts: Facts) -> Ask:
        """The same for objects that these granted ones cover, and nothing else does, and records with these facts."""
        engine = self.engine([row for row in self._rows if row.obj in objects])
        return lambda obj, right, scope: _ask(engine, self._who, self._tenant, obj, right, asked_scope(scope, facts))

    def enforce(self, obj: str, right: str, scope: str) -> bool:
        """Casbin's answer over all rows; any failure denies."""
        if self._whole is None:
            self._whole = self.engine(self._rows)
        return _ask(self._whole, self._who, self._tenant, obj, right, scope)

    def engine(self, rows: Iterable[Grant]) -> Any:
        """A Casbin enforcer over some of the rows that these roles can reach in this tenant."""
        engine = casbin.Enforcer(str(MODEL))
        engine.add_function("covers", covers)
        engine.add_function("grants", grants)
        engine.add_function("holds", holds)
        engine.enable_auto_save(False)
        for row in rows:
            engine.add_policy(row.role, self._tenant, row.obj, row.right, row.situation, row.effect)
        for link in self._links:
            engine.add_grouping_policy(link.role, link.parent, self._tenant)
        for role in sorted(self._roles):
            if is_role(role):
                engine.add_grouping_policy(self._who, role, self._tenant)
        return engine


def _ask(engine: Any, who: str, tenant: str, obj: str, right: str, scope: str) -> bool:
    try:
        return engine.enforce(who, tenant, obj, right, scope) is True
    except Exception:  # whatever a failure inside the engine is, it means no
        return False


class Bundle:
    """An immutable set of rows, compiled for the fields and operations of the installed profiles.

    version: first 16 hex digits of SHA-256 over the rows, written to the audit trail with each decision. clock: seconds
    since 1970, asked only where a row begins or ends some day; rows and inheritances hold by it, with no publication.
    separated: whoever holds powers of two duties (policies.duty), however that came about, has none of them.
    """

    def __init__(
        self,
        rows: Iterable[Grant],
        links: Iterable[Inheritance],
        fields: Iterable[FieldSpec],
        operations: Iterable[str],
        clock: Callable[[], float] = time.time,
        *,
        separated: bool = False,
    ) -> None:
        self._clock = clock
        self._separated = separated
        self._operations = tuple(operations)
        self._specs = tuple(fields)
        self._rows = tuple(rows)
        self._links = tuple(links)
        self._fields = {(spec.entity, spec.name): spec.kind for spec in self._specs}
        self._known_operations = frozenset(self._operations)
        every: tuple[Grant | Inheritance, ...] = (*self._rows, *self._links)
        self.boundaries = sorted({at for row in every for at in row.window.boundaries})
        text = "\n".join(f"{row!r}{row.tail}" for row in every)
        self.version = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.named = frozenset(row.role for row in self._rows) | frozenset(link.role for link in self._links)
        self.roles = frozenset(roles_alone(self.named))
        self._compiled: dict[tuple[str, frozenset[str]], _Compiled] = {}
        self._by_tuple: dict[tuple[str, tuple[str, ...]], _Compiled] = {}  # the same, by roles as sessions hold them

    def at(self, moment: float) -> "Bundle":
        """The same rows as they hold at one moment; itself where none begins or ends."""
        if not self.boundaries:
            return self
        return Bundle(self._rows, self._links, self._specs, self._operations, lambda: moment, separated=self._separated)

    def now(self) -> float:
        """The moment by this bundle's clock, in seconds since 1970."""
        return self._clock()

    def about(self, *objects: str) -> "Bundle":
        """The rows whose objects take in one of these, with every inheritance: all that questions about them need."""
        rows = [row for row in self._rows if any(covers(obj, row.obj) for obj in objects)]
        return Bundle(rows, self._links, (), (), self._clock, separated=self._separated)

    # -- compilation -----------------------------------------------------------------------------------------

    def _lookup(self, tenant: str, roles: Collection[str]) -> _Compiled:
        if (
            isinstance(roles, tuple)
            and (known := self._by_tuple.get((tenant, roles))) is not None
            and (known.until == inf or self._clock() < known.until)
        ):
            return known
        key = (tenant, roles if isinstance(roles, frozenset) else frozenset(roles))
        found = self._compiled.get(key)
        if found is None or (found.until != inf and self._clock() >= found.until):
            if len(self._compiled) >= COMPILED_LIMIT:
                self._compiled.clear()
            found = self._compiled[key] = self._compile(*key)
        if isinstance(roles, tuple):
            if len(self._by_tuple) >= COMPILED_LIMIT:
                self._by_tuple.clear()
            self._by_tuple[(tenant, roles)] = found
        return found

    def _compile(self, tenant: str, roles: frozenset[str]) -> _Compiled:
        who = "+".join(sorted(roles)) + "@"  # "@" cannot stand in a role name
        now = self._clock() if self.boundaries else 0.0
        rows, links = self._reachable(tenant, roles, now)
        rows = [personal(row, *self._circle(tenant, roles, now)) if row.limited else row for row in rows]
        compiled = _Compiled(rows, links, who, roles & self.named, tenant)
        later = bisect_right(self.boundaries, now)
        compiled.until = self.boundaries[later] if later < len(self.boundaries) else inf
        about = [row for row in rows if not row.obj.startswith("op:")]
        compiled.view = compiled.export_view = self._view(compiled, about, rule_of)
        if any(row.right == "export" and row.effect == "deny" for row in about):
            compiled.export_view = self._view(compiled, about, export_rule_of)
        return compiled

    def _circle(self, tenant: str, roles: frozenset[str], now: float) -> tuple[frozenset[str], frozenset[str]]:
        """The departments of a person, and those whose people are of the team: these, and what inherits from them."""
        mine = {f"dept:{name}" for name in departments(roles)}
        team = set(mine)
        links = [link for link in self._links if link.tenant in (_FOR_ALL_TENANTS, tenant) and link.window.holds(now)]
        for _ in range(len(links) + 1):
            team |= {link.role for link in links if link.parent in team}
        return departments(mine), departments(team)

    def personal(self, row: Grant, tenant: str, roles: Collection[str]) -> Grant:
        """A row as it is for somebody with these roles and departments, now."""
        return personal(row, *self._circle(tenant, frozenset(roles), self._clock())) if row.limited else row

    def limited(self, tenant: str, roles: Collection[str], obj: str) -> list[Grant]:
        """The rows about an object that criteria or a time limit, those that do not hold now included."""
        links = [link for link in self._links if link.tenant in (_FOR_ALL_TENANTS, tenant)]
        reach = set(roles)
        for _ in range(len(links) + 1):
            reach |= {link.parent for link in links if link.role in reach}
        return [
            row
            for row in self._rows
            if (row.limited or row.window.boundaries)
            and row.role in reach
            and row.tenant in (_FOR_ALL_TENANTS, tenant)
            and covers(obj, row.obj)
        ]

    def _reachable(self, tenant: str, roles: frozenset[str], now: float) -> tuple[list[Grant], list[Inheritance]]:
        """Rows and inheritances that these roles can reach in this tenant and that hold now."""
        links = [link for link in self._links if link.tenant in (_FOR_ALL_TENANTS, tenant) and link.window.holds(now)]
        reach = set(roles & self.named)
        for _ in range(len(links) + 1):
            reach |= {link.parent for link in links if link.role in reach}
        rows = [
            row
            for row in self._rows
            if row.role in reach and row.tenant in (_FOR_ALL_TENANTS, tenant) and row.window.holds(now)
        ]
        return rows, [link for link in links if link.role in reach]

    def _view(
        self, compiled: _Compiled, about: Collection[Grant], rule_of: RuleOf, facts: Facts = NOTHING
    ) -> FieldView:
        """The rights over records of which this is known; about: the rows over fields and kinds."""
        known: dict[frozenset[str], FieldRule] = {}
        granted = frozenset(row.obj for row in about)
        asking = partial(compiled.asking, facts=facts)

        def rule(obj: str) -> FieldRule:
            # Objects that the same grants cover get the same answers: Casbin is asked once for all of them.
            covering = frozenset(name for name in granted if covers(obj, name))
            found = known.get(covering)
            if found is None:
                found = known[covering] = rule_of(asking(covering), obj)
            return found

        by_kind = {kind.value: rule(f"kind:{kind.value}") for kind in Kind}
        entities = sorted({entity for entity, _ in self._fields})
        names = [*self._fields, *((entity, "*") for entity in entities)]
        in_text = {
            (entity, name, kind.value): rule(f"field:{entity}.{name}#{kind.value}")
            for entity, name in names
            for kind in Kind
        }
        rules = {
            (entity, name): in_text[(entity, name, kind.value)]
            for (entity, name), kind in self._fields.items()
            if kind is not None
        }
        criteria: dict[Criterion, None] = {one: None for row in about for one in row.where}
        return FieldView(
            policy_version=self.version,
            rules=rules,
            by_kind=by_kind,
            # Of one record more may be known; what a person sees of all of them it does not say.
            sees_everything=not facts and all(rule == _EVERYTHING for rule in (*by_kind.values(), *in_text.values())),
            in_text=in_text,
            criteria=() if facts else tuple(criteria),
            _within=None if facts or not criteria else partial(self._view, compiled, about, rule_of),
        )

    def warm(self, other: "Bundle") -> None:
        """Compile what another bundle was asked so far; for a thread, before this one takes the other's place."""
        for (tenant, roles), known in list(other._by_tuple.items()):
            compiled = self._lookup(tenant, roles)
            for operation_id, action in list(known.operations):
                self._allowed(compiled, operation_id, action)

    # -- questions -------------------------------------------------------------------------------------------

    def view(self, tenant: str, roles: Collection[str]) -> FieldView:
        """The compiled rights over fields and kinds; looked up, compiled on first use."""
        return self._lookup(tenant, roles).view

    def export_view(self, tenant: str, roles: Collection[str]) -> FieldView:
        """The same in exports."""
        return self._lookup(tenant, roles).export_view

    def decide(self, tenant: str, roles: Collection[str], operation: Operation) -> Decision:
        """Allow or refuse an operation for a set of roles; the reason ids are those of the refusals, or "allowed"."""
        compiled = self._lookup(tenant, roles)
        if not operation.granted_write:
            return Decision(False, operation.extra.get("refused", WRITE_NOT_GRANTED), _view_for(compiled, operation))
        key = (operation.id, operation.action)
        decision = compiled.decisions.get(key)
        if decision is None:
            allowed = self._allowed(compiled, operation.id, operation.action.value)
            proof = allowed and operation.action is Action.EXPORT and self._needs_proof(compiled, operation)
            view = _view_for(compiled, operation)
            decision = Decision(allowed, ALLOWED if allowed else NOT_ALLOWED, view, proof)
            if operation.id in self._known_operations:
                compiled.decisions[key] = decision
        return decision

    def may(self, tenant: str, roles: Collection[str], operation_id: str, action: str = "read") -> bool:
        """Whether the roles have an operation that is no CRM exchange, such as `console.live`."""
        if not self._allowed(self._lookup(tenant, roles), operation_id, action):
            return False
        apart = self._separated and (operation_id, action) in POWERS
        return not apart or len(self.duties(tenant, roles)) < 2

    def duties(self, tenant: str, roles: Collection[str]) -> frozenset[Duty]:
        """The duties of which these roles hold a power now."""
        compiled = self._lookup(tenant, roles)
        return frozenset(duty for power, duty in POWERS.items() if self._allowed(compiled, *power))

    def denies(self, tenant: str, roles: Collection[str]) -> bool:
        """Whether a row that takes something away is in reach of these roles, now or at any time."""
        reach, links = set(roles), [link for link in self._links if link.tenant in (_FOR_ALL_TENANTS, tenant)]
        while more := {link.parent for link in links if link.role in reach} - reach:
            reach |= more
        here = (row for row in self._rows if row.tenant in (_FOR_ALL_TENANTS, tenant))
        return any(row.role in reach and row.effect == "deny" for row in here)

    def _needs_proof(self, compiled: _Compiled, operation: Operation) -> bool:
        """Whether the roles were told to prove a factor before this export (`op:proof.OPERATION`)."""
        return self._allowed(compiled, f"proof.{operation.id}", operation.action.value)

    def _allowed(self, compiled: _Compiled, operation_id: str, action: str) -> bool:
        key = (operation_id, action)
        known = compiled.operations.get(key)
        if known is None:
            known = compiled.ask(f"op:{operation_id}", action, "any")
            if operation_id in self._known_operations or len(compiled.operations) < 10_000:
                compiled.operations[key] = known
        return known

    def enforce(self, tenant: str, roles: Collection[str], obj: str, right: str, scope: str) -> bool:
        """Casbin's answer about one object, not looked up; for `explain` and the proof that compiled answers agree."""
        return self._lookup(tenant, roles).enforce(obj, right, scope)


def _view_for(compiled: _Compiled, operation: Operation) -> FieldView:
    return compiled.export_view if operation.action is Action.EXPORT else compiled.view


class Enforcer:
    """Loads bundles for one set of installed fields; holds no state of its own beyond them."""

    def __init__(
        self,
        fields: Iterable[FieldSpec] | Mapping[tuple[str, str], FieldSpec],
        operations: Iterable[str] = (),
        clock: Callable[[], float] = time.time,
        *,
        separated: bool = False,
    ) -> None:
        self._clock = clock
        self._separated = separated
        self._fields = tuple(fields.values() if isinstance(fields, Mapping) else fields)
        self._operations = tuple(operations)

    def load(
        self, policy: str | Path = DEFAULT_POLICY, *, eager: Mapping[str, Iterable[Collection[str]]] | None = None
    ) -> Bundle:
        """A bundle from CSV text or a file; compiled at once for the tenants and sets of roles in `eager`.

        Raises: PolicyInvalid for any malformed row; OSError when the file cannot be read.
        """
        text = policy.read_text(encoding="utf-8") if isinstance(policy, Path) else policy
        rows, links = parse_rows(text)
        bundle = Bundle(rows, links, self._fields, self._operations, self._clock, separated=self._separated)
        for tenant, sets in (eager or {}).items():
            for roles in sets:
                bundle.view(tenant, roles)
        return bundle
