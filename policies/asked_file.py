"""Compiles what a profile says about query and body: conditions, ids in JSON, batches, columns that are named.

Names of fields are resolved by the caller (policies.profile_file), which also collects what is wrong.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from policies.batch import compile_batch
from policies.column import ClauseShape, ColumnRule, name_pattern
from policies.condition import ALWAYS, compile_condition, pointer_of
from policies.field_file import selector_of
from policies.operation import FieldSpec, Operation, Where
from policies.template import Template
from policies.xml_document import element_selector


def with_asked(template: Template, entry: Mapping[str, Any]) -> Template:
    """The template with the ids and the batch that its operation declares."""
    if "dialect" in entry:
        template = replace(template, dialect=entry["dialect"], needs_body=True)
    if "batch" in entry:
        plain = replace(template.plain, batch=compile_batch(entry["batch"]))
        template = replace(template, plain=plain, needs_body=True)
    places = tuple(pointer_of(one) for one in entry.get("ids_at", ()))
    elements = tuple(element_selector(one) for one in entry.get("ids_at_elements", ()))
    if elements:
        template = replace(template, ids_at_elements=elements, needs_body=True)
    return replace(template, ids_at=places, needs_body=True) if places else template


def join(known: Template | None, template: Template, when: Mapping[str, Any] | None) -> Template | None:
    """One template for operations of the same method and path; None where nothing decides between two of them."""
    condition = ALWAYS if when is None else compile_condition(when)
    if known is None:
        if when is None:
            return template
        choices = [(condition, template)]
    elif not known.choices or known.choices[-1][0] == ALWAYS:
        return None  # what comes after an operation without a condition is never reached
    else:
        choices = [*known.choices, (condition, template)]
    reads = any(one.needs_body or condition.reads_body for condition, one in choices)
    return replace(choices[0][1], choices=tuple(choices), needs_body=reads)


def path_searches(operation: Operation) -> tuple[str, ...]:
    """Parameters of the path that an operation searches for; a template with `{}` finds its value by itself."""
    rules = (rule for rule in operation.searches if rule.where is Where.PATH and "{}" not in str(rule.selector))
    return tuple(rule.selector[0] for rule in rules)


def search_clause(entry: Mapping[str, Any]) -> ClauseShape | None:
    """The keys of filter clauses that are objects."""
    clause = entry.get("clause")
    return ClauseShape(clause["column"], clause["operator"], frozenset(clause["operand"])) if clause else None


def column_rules(entry: Mapping[str, Any], field: Callable[[str], FieldSpec | None]) -> list[ColumnRule]:
    """Where one entry of a search set names columns; none where it does not say which columns are `open`."""
    if "open" not in entry:
        return []
    clause = entry.get("clause")
    select = selector_of(entry["select"])
    return [
        ColumnRule(
            Where(entry["where"]),
            (*select, clause["column"]) if clause else select,
            {name: field(named) for name, named in entry.get("columns", {}).items()},
            tuple(entry["open"]),
            entry.get("order", False),
            entry.get("split", ","),
            clause["operator"] if clause else "",
            frozenset(entry.get("equality", ("=", "in"))),
            frozenset(entry.get("presence", ())),
            clauses=not clause and not entry.get("order", False) and "names" not in entry,
            named=name_pattern(entry["names"]) if "names" in entry else None,
        )
    ]
