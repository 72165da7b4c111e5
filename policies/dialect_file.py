"""Compiles the `dialects:` of a profile: each method of each object once for every dialect.

Selectors that begin with `@name` stand for the places of that argument in the dialect and method at hand.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from policies.condition import pointer_of
from policies.dialect import OTHER, CallTemplate, Dialect, DialectRules
from policies.field_file import selector_of
from policies.operation import Operation
from policies.unique import unique_of

Places = Mapping[str, tuple[tuple[str, ...], ...]]
# (entry of an operation, entity, names of rule sets, places of its arguments) → operation
Compile = Callable[[Mapping[str, Any], str, list[str], Places], Operation]


def compile_dialects(source: Mapping[str, Any], compile_call: Compile) -> dict[str, DialectRules]:
    """The dialects of a profile by name. source: its `dialects`."""
    return {name: _rules(source, entry, compile_call) for name, entry in source["shapes"].items()}


def selects(select: Any, places: Places) -> Iterator[tuple[str, ...]]:
    """What a selector means where arguments stand in these places; nothing where the method has no such argument."""
    given = selector_of(select)
    if not given[0].startswith("@"):
        yield given
        return
    for place in places.get(given[0][1:], ()):
        yield (*place, *given[1:])


def _rules(source: Mapping[str, Any], shape: Mapping[str, Any], compile_call: Compile) -> DialectRules:
    dialect = Dialect(
        shape["object"],
        shape["method"],
        pointer_of(shape["args"]) if "args" in shape else None,
        pointer_of(shape["named"]) if "named" in shape else None,
    )
    calls: dict[tuple[str, str], CallTemplate] = {}
    declared = {**source["objects"], OTHER: source["other"]}
    for name, entry in declared.items():
        for verb, method in {**source["methods"], **entry.get("methods", {})}.items():
            calls[(name, verb)] = _call(source, shape, dialect, entry, method, compile_call)
    return DialectRules(dialect, calls, frozenset(source["objects"]))


def _call(
    source: Mapping[str, Any],
    shape: Mapping[str, Any],
    dialect: Dialect,
    declared: Mapping[str, Any],
    method: Mapping[str, Any],
    compile_call: Compile,
) -> CallTemplate:
    places = dialect.places(method.get("arguments", ()), source.get("always", ()))
    entity = declared["entity"]

    def operation(entry: Mapping[str, Any]) -> Operation:
        searches = [*entry.get("searches", ()), *(declared.get("searches", ()) if method.get("looks_up") else ())]
        given = {**entry, "searches": searches, "untouched": shape.get("untouched", ())}
        given |= unique_of(entry, declared)
        if declared.get("left_alone"):
            given["left_alone"] = True
        rules = [*entry.get("rules", ()), *declared.get("rules", ()), *source.get("rules", ())]
        return compile_call(given, entity, rules, places)

    ids = places.get(method["ids"], ()) if "ids" in method else ()
    new = operation({**method, **method["new"]}) if "new" in method else None
    return CallTemplate(operation(method), ids, new)
