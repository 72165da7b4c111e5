"""Fast, total matching of request paths against the templates of a profile.

A path is decoded once, exactly as the CRM decodes it, split at slashes and walked through a trie: exact segments
first, then segments with a parameter, then a tail. Matching never raises. It refuses (no match) what two parsers may
read differently: control characters, bytes that are not UTF-8, dot segments, empty segments and backslashes.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import unquote_to_bytes

from policies.record_id import RecordIds

T = TypeVar("T")

_PARAMETER = re.compile(r"\{([a-z_]+)(?::([a-z]+))?\}")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]")
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
# Longest path the trie looks at; a longer one is unmatched (uvicorn refuses targets above 64 KiB anyway).
PATH_LIMIT_CHARS = 4096


def _word(segment: str) -> str | None:
    return segment if 0 < len(segment) <= 200 and _WORD.issuperset(segment) else None


def _any(segment: str) -> str | None:
    return segment or None


Check = Callable[[str], str | None]
"""The text of a segment as the parameter's value, or None when the parameter is not of this type."""

_CHECKS: Mapping[str, Check] = {"int": RecordIds.NUMBER.canonical, "word": _word, "any": _any}


def plain_path(path: str) -> str | None:
    """The decoded path without its trailing slash, or None when it is not safe to interpret."""
    if len(path) > PATH_LIMIT_CHARS or not path.startswith("/"):
        return None
    if "%" in path:
        try:
            path = unquote_to_bytes(path).decode("utf-8")
        except UnicodeError:
            return None
    if _UNSAFE.search(path):
        return None
    if "//" in path or "/." in path:
        # Dot segments and empty segments are refused, a dot file (`/.well-known`) merely never matches a template.
        return None
    return path[:-1] if len(path) > 1 and path[-1] == "/" else path


@dataclass(slots=True)
class _Node(Generic[T]):
    exact: dict[str, "_Node[T]"] = field(default_factory=dict)
    parameters: list[tuple[str, str, str, Check, "_Node[T]"]] = field(default_factory=list)
    tail: T | None = None
    value: T | None = None


class TemplateInvalid(ValueError):  # noqa: N818 - says what is wrong, as all error names here
    """A path template that cannot be compiled; fixing the profile is the only help."""

    permanent = True


class PathTrie(Generic[T]):
    """Templates such as `/persons/contact/edit/{record}` or `/static_media/{rest:tail}` → a value each.

    record_ids: what `{record}` without a type of its own matches.
    """

    def __init__(self, record_ids: RecordIds = RecordIds.NUMBER) -> None:
        self._root: _Node[T] = _Node()
        self._record: Check = record_ids.canonical

    def add(self, template: str, value: T) -> None:
        """Add one template.

        Raises: TemplateInvalid for a second value of the same template or a malformed one.
        """
        if not template.startswith("/"):
            raise TemplateInvalid(f"path template does not start with a slash: {template}")
        node = self._root
        for segment in template.strip("/").split("/") if template != "/" else []:
            if segment.startswith("{") and segment.endswith(":tail}"):
                if node.tail is not None:
                    raise TemplateInvalid(f"path template given twice: {template}")
                node.tail = value
                return
            node = self._step(node, segment, template)
        if node.value is not None:
            raise TemplateInvalid(f"path template given twice: {template}")
        node.value = value

    def _step(self, node: "_Node[T]", segment: str, template: str) -> "_Node[T]":
        found = _PARAMETER.search(segment)
        if found is None:
            if "{" in segment or "}" in segment:
                raise TemplateInvalid(f"parameter not understood in {template}")
            return node.exact.setdefault(segment, _Node())
        name, named = found.group(1), found.group(2)
        if named is not None and named not in _CHECKS:
            raise TemplateInvalid(f"parameter type not known in {template}")
        check = self._record if named is None and name == "record" else _CHECKS[named or "int"]
        before, after = segment[: found.start()], segment[found.end() :]
        for known in node.parameters:
            if known[:3] == (name, before, after) and known[3] == check:
                return known[4]
        child: _Node[T] = _Node()
        node.parameters.append((name, before, after, check, child))
        return child

    def find(self, path: str) -> tuple[T, dict[str, str]] | None:
        """The value of the best template for a plain path (see `plain_path`) with its parameters; None without one."""
        segments = path[1:].split("/") if path != "/" else []
        return self._find(self._root, segments, 0)

    def _find(self, node: "_Node[T]", segments: list[str], at: int) -> tuple[T, dict[str, str]] | None:
        if at == len(segments):
            return None if node.value is None else (node.value, {})
        segment = segments[at]
        child = node.exact.get(segment)
        if child is not None:
            found = self._find(child, segments, at + 1)
            if found is not None:
                return found
        for name, before, after, check, below in node.parameters:
            inner = segment
            if before or after:
                if len(segment) <= len(before) + len(after):
                    continue
                if not (segment.startswith(before) and segment.endswith(after)):
                    continue
                inner = segment[len(before) : len(segment) - len(after)]
            value = check(inner)
            if value is not None:
                found = self._find(below, segments, at + 1)
                if found is not None:
                    found[1][name] = value
                    return found
        return None if node.tail is None else (node.tail, {})
