"""The catalogue of every event the trail can hold, and the tag of an entry.

An entry says what happened by its kind, operation, reason and status; the tag `source:subject:action` is computed from
them and is the same for every version of the program. Tags are never reused for something else.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from audit.catalogue_access import ACCESS
from audit.catalogue_console import CONSOLE
from audit.catalogue_keeping import KEEPING
from audit.catalogue_trail import TRAIL
from audit.event_class import CLAUSE_AUDIT, EventClass, Weight
from audit.passage import passage_classes, passage_tag

UNLISTED = "unlisted:event:found"
FAMILY_END = ":*"
_REFUSED_FROM = 400
_UNLISTED_CLASS = EventClass(
    UNLISTED,
    "An entry of a sort that this version does not know",
    "本版本无法识别的事件",
    Weight.WARNING,
    CLAUSE_AUDIT,
    "never by this version: a test looks at every place that writes an entry",
)


@cache
def catalogue() -> Mapping[str, EventClass]:
    """Every line by its tag, in the order of the tags."""
    lines = [*passage_classes(), *ACCESS, *CONSOLE, *KEEPING, *TRAIL, _UNLISTED_CLASS]
    return {line.tag: line for line in sorted(lines, key=lambda line: line.tag)}


@cache
def families() -> tuple[str, ...]:
    """First parts of the tags, in order."""
    return tuple(dict.fromkeys(line.family for line in catalogue().values()))


@cache
def _marks() -> Mapping[tuple[str, str, str], str]:
    found: dict[tuple[str, str, str], str] = {}
    for line in catalogue().values():
        for mark in line.marks:
            kind, operation, reason = mark.split(" ")
            found[kind, operation, reason] = line.tag
    return found


def tag_of(content: Mapping[str, Any]) -> str:
    """The tag of a decoded entry; `UNLISTED` where the catalogue has no line for it. Raises nothing."""
    passing = passage_tag(content)
    if passing:
        return passing
    kind, operation, reason = (_text(content, name) for name in ("kind", "operation", "reason"))
    status = content.get("status")
    marks = _marks()
    for key in _keys(kind, operation, reason, failed=isinstance(status, int) and status >= _REFUSED_FROM):
        if key in marks:
            return marks[key]
    return UNLISTED


def class_of(content: Mapping[str, Any]) -> EventClass:
    """The line of the catalogue for a decoded entry."""
    return catalogue()[tag_of(content)]


def fits(tag: str, pattern: str) -> bool:
    """Whether a tag is the one asked for: a whole tag, or one that ends in `:*` after its first or second part."""
    if pattern.endswith(FAMILY_END):
        return tag.startswith(pattern[: -len(FAMILY_END)] + ":")
    return tag == pattern


def is_pattern(text: str) -> bool:
    """Whether some tag of the catalogue fits."""
    return any(fits(tag, text) for tag in catalogue())


@cache
def kinds_of(pattern: str) -> frozenset[str]:
    """Kinds of the entries whose tag may fit; empty where that cannot be told."""
    fitting = [line for line in catalogue().values() if fits(line.tag, pattern)]
    if not all(line.marks for line in fitting):
        return frozenset()
    return frozenset(mark.partition(" ")[0] for line in fitting for mark in line.marks)


def _keys(kind: str, operation: str, reason: str, *, failed: bool) -> Iterator[tuple[str, str, str]]:
    """From the most exact to the widest."""
    yield kind, operation, reason
    if failed:
        yield kind, operation, "!"
    yield kind, operation, "*"
    yield kind, "*", reason
    if failed:
        yield kind, "*", "!"
    yield kind, "*", "*"


def _text(content: Mapping[str, Any], name: str) -> str:
    found = content.get(name)
    return found if isinstance(found, str) else ""
