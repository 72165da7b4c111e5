"""What somebody expects of a bundle, kept with it: given these roles, this question has this answer.

    - given: {roles: [sales], tenant: crm}
      ask: field:contact.phone own
      expect: masked
    - given: {roles: [sales]}
      ask: op:contact.delete delete
      expect: deny
    - given: {roles: [sales, "dept:north"], at: 2026-12-24}
      ask: field:contact.phone other contact.region=north
      expect: clear

What is asked of a field: whose record (`own`, `other`, `team`), a right other than sight (`export`: the form in
exports; `reveal`, `write`, `search`: allow or deny), and what is known of the record; what is not named is unknown.
`at` is a day or a time with its zone, for rows with a window.

An expectation about a role, field or operation that does not exist would hold whatever the rows say, so it fails.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import partial
from typing import Any

import yaml

from policies.asked_form import export_form_of, form_of
from policies.criterion import TEAM, Facts, asked_scope
from policies.decision import Form
from policies.enforcer import Bundle
from policies.operation import CONSOLE_OPERATIONS, Action, FieldSpec
from policies.placement import departments
from policies.rows import PolicyInvalid
from policies.taxonomy import Kind
from policies.window import moment

FORMS: Mapping[str, Form] = {"hidden": Form.HIDDEN, "masked": Form.MASKED, "clear": Form.CLEAR}
OUTCOMES: Mapping[str, bool] = {"allow": True, "deny": False}
SCOPES = ("own", "other", "team")
RIGHTS = ("export", "reveal", "write", "search")
_FACT = re.compile(r"(?P<name>[a-z0-9_][a-z0-9_-]*\.[a-z0-9_][a-z0-9_-]*)=(?P<value>.*)\Z")
CHECKS_LIMIT = 1_000
_KINDS = frozenset(kind.value for kind in Kind)


@dataclass(frozen=True, slots=True)
class Expectation:
    """One check. number: its place in the list, from 1; tenant: "" is the bundle's own; how: a scope or an action.

    right: one of RIGHTS, "" for sight; facts: what is known of the record; at: when, None for the moment of judging.
    """

    number: int
    roles: tuple[str, ...]
    tenant: str
    obj: str
    how: str
    expect: str
    right: str = ""
    facts: Facts = field(default_factory=dict)
    at: float | None = None

    @property
    def question(self) -> str:
        """What is asked, as `ask` says it."""
        told = [f"{name}={value}" for name, values in self.facts.items() for value in values]
        return " ".join([self.obj, self.how, *([self.right] if self.right else []), *told])


def read_expectations(text: str) -> tuple[Expectation, ...]:
    """The checks in a text of YAML; none in an empty one. Raises PolicyInvalid with every one that is malformed."""
    try:
        source = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as fault:
        raise PolicyInvalid(["the checks are not valid YAML"]) from fault
    if source is None:
        return ()
    if not isinstance(source, list) or len(source) > CHECKS_LIMIT:
        raise PolicyInvalid([f"the checks are no list of at most {CHECKS_LIMIT}"])
    found, problems = [], []
    for number, one in enumerate(source, start=1):
        read = _read(number, one)
        if isinstance(read, Expectation):
            found.append(read)
        else:
            problems.append(f"check {number}: {read}")
    if problems:
        raise PolicyInvalid(problems)
    return tuple(found)


def _read(number: int, one: Any) -> Expectation | str:
    if not isinstance(one, dict) or set(one) != {"given", "ask", "expect"}:
        return "needs given, ask and expect, and nothing else"
    given, ask, expect = one["given"], one["ask"], one["expect"]
    if not isinstance(given, dict) or not {"roles"} <= set(given) <= {"roles", "tenant", "at"}:
        return "given needs roles and may name a tenant and a moment (at)"
    roles, tenant = given["roles"], given.get("tenant", "")
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles) or not isinstance(tenant, str):
        return "roles is a list of names and tenant a name"
    if not isinstance(ask, str) or not isinstance(expect, str):
        return "ask and expect are texts"
    at = _moment(given["at"]) if "at" in given else None
    if "at" in given and at is None:
        return "at is a day (2026-12-31) or a time with its zone (2026-12-31T18:00+08:00)"
    obj, *words = ask.split() or [""]
    asked = Expectation(number, tuple(roles), tenant, obj, words[0] if words else "", expect, at=at)
    if obj.startswith("op:"):
        if len(words) != 1 or asked.how not in {action.value for action in Action}:
            return "ask names an operation and one action, such as op:contact.read read"
        return asked if expect in OUTCOMES else "an operation is expected to be allow or deny"
    if obj.startswith(("field:", "kind:")):
        return _of_data(asked, words[1:])
    return "ask begins with field:, kind: or op:"


def _of_data(asked: Expectation, words: list[str]) -> Expectation | str:
    if asked.how not in SCOPES:
        return "ask names a field and own, other or team, such as field:contact.phone own"
    right = words.pop(0) if words and words[0] in RIGHTS else ""
    facts = facts_of(" ".join(words))
    if isinstance(facts, str):
        return facts
    if right in ("", "export") and asked.expect not in FORMS:
        return "a field is expected to be clear, masked or hidden"
    if right not in ("", "export") and asked.expect not in OUTCOMES:
        return f"{right} is expected to be allow or deny"
    return replace(asked, right=right, facts=facts)


def facts_of(text: str) -> dict[str, tuple[str, ...]] | str:
    """What a text says is known of a record (`contact.region=north`, several with spaces between), or what is wrong."""
    found: dict[str, tuple[str, ...]] = {}
    last = ""
    for one in text.split():
        fact = _FACT.match(one)
        if fact is not None and fact["name"] not in found:
            last = fact["name"]
            found[last] = (fact["value"],)
        elif fact is None and last and "=" not in one:  # a value of several words
            found[last] = (f"{found[last][0]} {one}",)
        else:
            return f"{one} says neither of which right nor what is known, such as contact.region=north, and that once"
    return found


def _moment(given: Any) -> float | None:
    """Seconds since 1970; YAML reads a day and a time with its zone as what they are."""
    if isinstance(given, datetime):
        return None if given.tzinfo is None else given.timestamp()
    return moment(given.isoformat() if isinstance(given, date) else given) if isinstance(given, (date, str)) else None


def unmet(
    bundle: Bundle,
    expectations: Collection[Expectation],
    tenant: str,
    fields: Mapping[tuple[str, str], FieldSpec],
    operations: Collection[str],
) -> Iterator[str]:
    """What of these the bundle does not meet, a sentence each; fields, operations: those of the profile."""
    for one, told in judged(bundle, expectations, tenant, fields, operations):
        if told:
            yield f"check {one.number}: {told}"


def judged(
    bundle: Bundle,
    expectations: Collection[Expectation],
    tenant: str,
    fields: Mapping[tuple[str, str], FieldSpec],
    operations: Collection[str],
) -> Iterator[tuple[Expectation, str]]:
    """Each check with what of it the bundle does not meet, "" where it does."""
    for one in expectations:
        yield one, _unmet(bundle, one, one.tenant or tenant, fields, operations)


def _unmet(
    bundle: Bundle,
    one: Expectation,
    tenant: str,
    fields: Mapping[tuple[str, str], FieldSpec],
    operations: Collection[str],
) -> str:
    unknown = sorted(set(one.roles) - bundle.named)
    if unknown:
        return f"the bundle has no role {unknown[0]}"
    roles = frozenset(one.roles)
    bundle = bundle if one.at is None else bundle.at(one.at)
    if one.obj.startswith("op:"):
        name = one.obj.removeprefix("op:")
        if name not in operations and name not in CONSOLE_OPERATIONS:
            return f"there is no operation {name}"
        got = "allow" if bundle.may(tenant, roles, name, one.how) else "deny"
    else:
        asked = concrete(one.obj, fields)
        if asked is None:
            return f"there is no {one.obj} whose kind is known"
        got = _got(partial(bundle.enforce, tenant, roles), one, asked)
    if got == one.expect:
        return ""
    return f"{'+'.join(one.roles) or 'nobody'} asks {one.question}: expected {one.expect}, is {got}"


def _got(ask: Callable[[str, str, str], bool], one: Expectation, obj: str) -> str:
    scope, facts = one.how, dict(one.facts)
    if scope == "team":
        scope, facts[TEAM] = "other", tuple(sorted(departments(one.roles)))
    told = asked_scope(scope, facts)
    if one.right in ("", "export"):
        form = (export_form_of if one.right else form_of)(ask, obj, told)
        return next(name for name, value in FORMS.items() if value is form)
    allowed = ask(obj, one.right, told)
    if one.right == "reveal":  # of what is shown masked
        allowed = allowed and form_of(ask, obj, told) is Form.MASKED
    return next(name for name, value in OUTCOMES.items() if value is allowed)


def concrete(obj: str, fields: Mapping[tuple[str, str], FieldSpec]) -> str | None:
    """The object with the kind its field has, as Casbin is asked; None when there is no such field, kind or none."""
    family, _, name = obj.partition(":")
    if family == "kind":
        return obj if name in _KINDS else None
    place, mark, kind = name.partition("#")
    entity, _, field = place.partition(".")
    spec = fields.get((entity, field))
    if spec is None:
        return None
    if mark:
        return obj if kind in _KINDS else None
    return None if spec.kind is None else f"field:{entity}.{field}#{spec.kind.value}"
