"""How a CRM says that a value is taken already: to somebody who does not see it, that tells about a stored value.

`tells` is pure and total: an answer nobody can read tells nothing that the profile describes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from selectolax.lexbor import LexborHTMLParser

CONFLICT = 409
"""Says by itself that something is there already; what operations without a rule of their own go by."""


_WRITES = ("create", "update")


@dataclass(frozen=True, slots=True)
class TakenAnswer:
    """One shape of such an answer: all that is given has to hold.

    status: any of these; json: keys that lead to the error, `*` is every element of a list; css: elements of a page;
    text: pattern that stands in one of the texts found, else any will do.
    """

    status: frozenset[int] = frozenset()
    json: tuple[str, ...] = ()
    css: str = ""
    text: re.Pattern[str] | None = None


@dataclass(frozen=True, slots=True)
class UniqueRule:
    """fields: (entity, field) that the CRM keeps unique; answers: how it says that one is taken."""

    fields: frozenset[tuple[str, str]]
    answers: tuple[TakenAnswer, ...]


def tells(rule: UniqueRule | None, status: int, body: bytes) -> bool:
    """Whether an answer says that a value is taken. rule None: a conflict, whatever it is about."""
    if rule is None:
        return status == CONFLICT
    return any(_fits(one, status, body) for one in rule.answers)


def _fits(answer: TakenAnswer, status: int, body: bytes) -> bool:
    if answer.status and status not in answer.status:
        return False
    if not (answer.json or answer.css):
        return answer.text is None or answer.text.search(body.decode("utf-8", "replace")) is not None
    texts = list(_json(answer.json, body) if answer.json else _page(answer.css, body))
    return any(answer.text is None or answer.text.search(text) is not None for text in texts)


def _json(path: Sequence[str], body: bytes) -> Iterator[str]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return
    yield from _texts(_at(value, path))


def _at(value: Any, path: Sequence[str]) -> list[Any]:
    """Everything at a path."""
    if not path:
        return [value]
    if path[0] == "*":
        return [found for one in value for found in _at(one, path[1:])] if isinstance(value, list) else []
    return _at(value[path[0]], path[1:]) if isinstance(value, dict) and path[0] in value else []


def _texts(values: Sequence[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, list):
            yield from _texts(value)
        elif isinstance(value, dict):
            yield from _texts(list(value.values()))
        elif value not in (None, "", False):
            yield str(value)


def _page(css: str, body: bytes) -> Iterator[str]:
    for element in LexborHTMLParser(body).css(css):
        yield element.text()


def unique_of(entry: Mapping[str, Any], declared: Mapping[str, Any]) -> dict[str, Any]:
    """The `unique` member of a call of an object: its own, else for calls that write the one of the object."""
    rule = entry.get("unique") or (declared.get("unique") if entry["action"] in _WRITES else None)
    return {} if rule is None else {"unique": rule}


def compile_unique(entry: Mapping[str, Any], fields: Sequence[tuple[str, str]]) -> UniqueRule:
    """The rule of a validated `unique` member; fields: what its names resolve to. Raises ValueError for a pattern."""
    answers = []
    for one in entry["answers"]:
        try:
            pattern = re.compile(one["text"], re.IGNORECASE) if "text" in one else None
        except re.error as fault:
            raise ValueError(str(fault)) from None
        answers.append(
            TakenAnswer(frozenset(one.get("status", ())), tuple(one.get("json", ())), one.get("css", ""), pattern)
        )
    return UniqueRule(frozenset(fields), tuple(answers))
