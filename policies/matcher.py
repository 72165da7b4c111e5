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

T = TypeVar("T")

_PARAMETER = re.compile(r"\{([a-z_]+)(?::([a-z]+))?\}")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]")
_DIGITS = frozenset("0123456789")
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
# Longest path the trie looks at; a longer one is unmatched (uvicorn refuses targets above 64 KiB anyway).
PATH_LIMIT_CHARS = 4096


def _is_int(segment: str) -> bool:
    """ASCII digits only: Django's `\\d` would also take other scripts' digits, which no template of ours means."""
    return 0 < len(segment) <= 20 and _DIGITS.issuperset(segment)


def _is_word(segment: str) -> bool:
    return 0 < len(segment) <= 200 and _WORD.issuperset(segment)


def _is_any(segment: str) -> bool:
    return bool(segment)


_CHECKS: Mapping[str, Callable[[str], bool]] = {"int": _is_int, "word": _is_word, "any": _is_any}


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
    parameters: list[tuple[str, str, str, Callable[[str], bool], "_Node[T]"]] = field(default_factory=list)
    tail: T | None = None
    value: T | None = None


class TemplateInvalid(ValueError):  # noqa: N818 - says what is wrong, as all error names here
    """A path template that cannot be compiled; fixing the profile is the only help."""

    permanent = True


class PathTrie(Generic[T]):
    """Templates such as `/persons/contact/edit/{record:int}` or `/static_media/{rest:tail}` → a value each."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

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

    @staticmethod
    def _step(node: "_Node[T]", segment: str, template: str) -> "_Node[T]":
        found = _PARAMETER.search(segment)
        if found is None:
            if "{" in segment or "}" in segment:
                raise TemplateInvalid(f"parameter not understood in {template}")
            return node.exact.setdefault(segment, _Node())
        name, check = found.group(1), found.group(2) or "int"
        if check not in _CHECKS:
            raise TemplateInvalid(f"parameter type not known in {template}")
        before, after = segment[: found.start()], segment[found.end() :]
        for known in node.parameters:
            if known[:3] == (name, before, after) and known[3] is _CHECKS[check]:
                return known[4]
        child: _Node[T] = _Node()
        node.parameters.append((name, before, after, _CHECKS[check], child))
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
            if check(inner):
                found = self._find(below, segments, at + 1)
                if found is not None:
                    found[1][name] = inner
                    return found
        return None if node.tail is None else (node.tail, {})
