"""Elements of XML bodies: how a profile names them, the record an element belongs to, fields emptied by their names."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from policies.operation import Action, BodyRule, FieldSpec, Operation, Where
from policies.record_id import RecordIds
from policies.selector import rule_for
from policies.steps import matches
from policies.xml_document import XmlDocument, element_selector, texts_at


def selected(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """A rule or search whose `element` is written as the selector that it stands for."""
    return entry if "element" not in entry else {**entry, "select": list(element_selector(entry["element"]))}


def is_described(operation: Operation) -> bool:
    """Whether an XML body is what the profile describes; where it describes no body at all, any is."""
    bodies = [rule for rule in operation.searches if rule.where in (Where.FORM, Where.JSON)]
    if not operation.rules and not bodies:
        return True
    return any(rule.element for rule in operation.rules) or any(rule.where is Where.XML for rule in operation.searches)


def records_beside(
    operation: Operation, path: Sequence[str], siblings: Mapping[str, str], ids: RecordIds
) -> tuple[str, ...] | None:
    """The record of the element a value stands in, by the id beside it; () where none is, None where no rule asks."""
    if operation.action is Action.CREATE:
        return None
    found = rule_for(operation.rules, path)
    if found is None or not found[0].row_id:
        return None
    number = ids.canonical(siblings.get(found[0].row_id, "").strip())
    return (number,) if number is not None else ()


def emptied(rules: Iterable[BodyRule], path: Sequence[str], text: str) -> Iterator[FieldSpec]:
    """The field that a request empties by naming it (`<fieldsToNull>Phone</fieldsToNull>`)."""
    for rule in rules:
        if rule.empties is not None and text.strip() in rule.empties and matches(rule.selector, path):
            yield rule.empties[text.strip()]


def ids_of(document: XmlDocument, places: Sequence[Sequence[str]], shape: RecordIds) -> list[str]:
    """Record ids at these places of a document, each once."""
    texts = (one.strip() for place in places for one in texts_at(document, place))
    return list(dict.fromkeys(one for text in texts if (one := shape.canonical(text)) is not None))


def texts_of(document: XmlDocument, places: Iterable[str]) -> list[str]:
    """Every text at these places that is not empty."""
    return [text for place in places for text in texts_at(document, element_selector(place)) if text]
