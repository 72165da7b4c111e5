"""Values in the path of a request: a record by its e-mail address, or by another key that is a personal value.

A template names the last segments of the path; `{}` is the value, perhaps with signs around it
(`contacts(emailaddress1='{}')`). Everything but the value keeps its percent-encoding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from policies.query.parsed import QueryInvalid


@dataclass(frozen=True, slots=True)
class PathValue:
    """A value in a path. start, end: its span in the raw path; doubled: whether apostrophes in it are doubled."""

    text: str
    start: int
    end: int
    doubled: bool


def path_value(template: Sequence[str], path: str) -> PathValue | None:
    """The value that a template finds in a raw path; None where the path is another one.

    Raises: QueryInvalid for a value that two readers could read differently.
    """
    raw = path.rstrip("/").split("/")[1:]
    if len(raw) < len(template):
        return None
    offset = 1 + sum(len(one) + 1 for one in raw[: len(raw) - len(template)])
    found = None
    for wanted, segment in zip(template, raw[-len(template) :], strict=True):
        before, mark, after = wanted.partition("{}")
        if not mark:
            if _decoded(segment) != wanted:
                return None
        else:
            start, end = _inside(segment, before, after)
            if start < 0:
                return None
            found = _value(segment[start:end], offset + start, doubled=after.startswith("'"))
        offset += len(segment) + 1
    return found


def named_value(text: str, path: str) -> PathValue | None:
    """The last whole segment of a raw path that says this text; None where none does. Raises: QueryInvalid."""
    found, offset = None, 0
    for segment in path.split("/"):
        if segment and _decoded(segment) == text:
            found = _value(segment, offset, doubled=False)
        offset += len(segment) + 1
    return found


def _inside(segment: str, before: str, after: str) -> tuple[int, int]:
    """Where the value stands in a segment whose signs around it may be percent-encoded; (-1, -1) if it does not."""
    start = _reach(segment, before)
    end = len(segment)
    if start < 0:
        return -1, -1
    for sign in reversed(after):
        if start < end and segment[end - 1] == sign:
            end -= 1
        elif segment[max(end - 3, 0) : end].upper() == f"%{ord(sign):02X}":
            end -= 3
        else:
            return -1, -1
    return (start, end) if 0 <= start < end else (-1, -1)


def _reach(segment: str, before: str) -> int:
    at = 0
    for sign in before:
        if segment[at : at + 1] == sign:
            at += 1
        elif segment[at : at + 3].upper() == f"%{ord(sign):02X}":
            at += 3
        else:
            return -1
    return at


def _value(raw: str, start: int, *, doubled: bool) -> PathValue:
    text = _decoded(raw)
    if any(sign < " " or sign in "/\\\x7f" for sign in text):
        raise QueryInvalid("path")
    if doubled:
        if text.replace("''", "").count("'"):
            raise QueryInvalid("path")
        text = text.replace("''", "'")
    return PathValue(text, start, start + len(raw), doubled)


def _decoded(raw: str) -> str:
    try:
        return unquote_to_bytes(raw).decode("utf-8")
    except UnicodeError:
        raise QueryInvalid("path") from None


def with_value(path: str, place: PathValue, value: str) -> str:
    """The path with another value in that place.

    Raises: ValueError for a value that cannot stand in a path.
    """
    if any(sign < " " or sign in "/\\\x7f" for sign in value) or value in ("", ".", ".."):
        raise ValueError("a value that cannot stand in a path")
    written = value.replace("'", "''") if place.doubled else value
    plain = "@" if "@" in path[place.start : place.end] else ""  # as the client escapes it
    return path[: place.start] + quote(written, safe=plain) + path[place.end :]
