"""What somebody expects of a bundle, kept with it: given these roles, this question has this answer.

    - given: {roles: [sales], tenant: crm}
      ask: field:contact.phone own
      expect: masked
    - given: {roles: [sales]}
      ask: op:contact.delete delete
      expect: deny

An expectation about a role, field or operation that does not exist would hold whatever the rows say, so it fails.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import yaml

from policies.decision import Form
from policies.enforcer import Bundle, form_of
from policies.operation import CONSOLE_OPERATIONS, Action, FieldSpec
from policies.rows import PolicyInvalid
from policies.taxonomy import Kind

FORMS: Mapping[str, Form] = {"hidden": Form.HIDDEN, "masked": Form.MASKED, "clear": Form.CLEAR}
OUTCOMES: Mapping[str, bool] = {"allow": True, "deny": False}
SCOPES = ("own", "other")
CHECKS_LIMIT = 1_000
_KINDS = frozenset(kind.value for kind in Kind)


@dataclass(frozen=True, slots=True)
class Expectation:
    """One check. number: its place in the list, from 1; tenant: "" is the bundle's own; how: a scope or an action."""

    number: int
    roles: tuple[str, ...]
    tenant: str
    obj: str
    how: str
    expect: str


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
    if not isinstance(given, dict) or not {"roles"} <= set(given) <= {"roles", "tenant"}:
        return "given needs roles and may name a tenant"
    roles, tenant = given["roles"], given.get("tenant", "")
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles) or not isinstance(tenant, str):
        return "roles is a list of names and tenant a name"
    if not isinstance(ask, str) or not isinstance(expect, str):
        return "ask and expect are texts"
    obj, _, how = ask.partition(" ")
    how = how.strip()
    if obj.startswith("op:"):
        if how not in {action.value for action in Action}:
            return "ask names an operation and one action, such as op:contact.read read"
        if expect not in OUTCOMES:
            return "an operation is expected to be allow or deny"
    elif obj.startswith(("field:", "kind:")):
        if how not in SCOPES:
            return "ask names a field and own or other, such as field:contact.phone own"
        if expect not in FORMS:
            return "a field is expected to be clear, masked or hidden"
    else:
        return "ask begins with field:, kind: or op:"
    return Expectation(number, tuple(roles), tenant, obj, how, expect)


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
    if one.obj.startswith("op:"):
        name = one.obj.removeprefix("op:")
        if name not in operations and name not in CONSOLE_OPERATIONS:
            return f"there is no operation {name}"
        got = "allow" if bundle.may(tenant, roles, name, one.how) else "deny"
    else:
        asked = concrete(one.obj, fields)
        if asked is None:
            return f"there is no {one.obj} whose kind is known"
        form = form_of(partial(bundle.enforce, tenant, roles), asked, one.how)
        got = next(name for name, value in FORMS.items() if value is form)
    if got == one.expect:
        return ""
    return f"{'+'.join(one.roles) or 'nobody'} asks {one.obj} {one.how}: expected {one.expect}, is {got}"


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
