"""Paths of requests as templates: what names one record, or is somebody's value, becomes a parameter.

A template is what a profile takes: `{n}` stands for a decimal number, `{uuid}` and the like for ids of other
shapes, `{word}` for one of many words, `{any}` for anything else. Nothing here keeps a path.
"""

import re
from collections.abc import Iterable
from urllib.parse import unquote

from gateway.learn.vocabulary import vocabulary
from policies.record_id import RecordIds
from privacy import recognise

NUMBER, WORD, ANY = "{n}", "{word}", "{any}"
SHAPED = (RecordIds.UUID, RecordIds.HEX24, RecordIds.SALESFORCE)
_LITERAL = re.compile(
    r"[A-Za-z][A-Za-z_.-]{0,40}[A-Za-z]|[A-Za-z]|[vV]\d{1,3}(?:\.\d{1,2})?|\d{4}-\d{2}-\d{2}|[a-z]{2,12}\d"
)
_NUMBERED = re.compile(r"\d{1,6}[-_]([A-Za-z]{3,20})")  # an installation's own number before a word: 789-login
_OPAQUE = re.compile(r"[A-Za-z0-9_-]{1,200}")
_FULL = 24  # different words at one place of a path: more are values


def template_of(path: str) -> str:
    """The template of one path."""
    if path == "/":
        return "/"
    return "/" + "/".join(_step(segment) for segment in path.strip("/").split("/"))


def _step(segment: str) -> str:
    text = unquote(segment)
    if text.isascii() and text.isdecimal():
        return NUMBER
    for shape in SHAPED:
        if any(sign.isdigit() for sign in text) and shape.canonical(text) is not None:
            return f"{{{shape}}}"
    if _LITERAL.fullmatch(text) and not recognise.find(text):
        return text
    numbered = _NUMBERED.fullmatch(text)
    if numbered and (vocabulary().is_verb(numbered[1]) or numbered[1].lower() in vocabulary().records):
        return text
    return WORD if _OPAQUE.fullmatch(text) and any(sign.isdigit() for sign in text) else ANY


def names_record(template: str) -> bool:
    """Whether a template holds the id of a record, of whatever shape."""
    return any(step in template for step in (NUMBER, *(f"{{{shape}}}" for shape in SHAPED)))


def folded(templates: Iterable[str], values: frozenset[str] = frozenset()) -> dict[str, str]:
    """Template → template with words that are one of many, or are known to be values, as parameters."""
    found = {one: one.strip("/").split("/") for one in templates}
    deepest = max((len(steps) for steps in found.values()), default=0)
    for depth in range(deepest):
        children: dict[tuple[str, ...], set[str]] = {}
        for steps in found.values():
            if depth < len(steps):
                children.setdefault(tuple(steps[:depth]), set()).add(steps[depth])
        for steps in found.values():
            if depth >= len(steps) or steps[depth].startswith("{"):
                continue
            beside = children[tuple(steps[:depth])]
            words = sum(not one.startswith("{") for one in beside)
            if steps[depth].casefold() in values or (depth > 1 and words > _FULL):
                steps[depth] = WORD
    return {one: "/" + "/".join(steps) if one != "/" else "/" for one, steps in found.items()}
