"""Steps of paths and the patterns that cover them: `*` one step, `**` any number, fnmatch inside a step."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import lru_cache

_PATTERN_SIGNS = frozenset("*?[#")
ONE_OR_NONE = "#"
"""Step of a selector that covers the index of an XML element that stands several times, or nothing."""


@lru_cache(maxsize=4096)
def is_pattern(step: str) -> bool:
    """Whether a step of a selector covers more than itself."""
    return not _PATTERN_SIGNS.isdisjoint(step)


def _step_matches(pattern: str, step: str) -> bool:
    if pattern == step or pattern == "*":
        return True
    return is_pattern(pattern) and fnmatchcase(step, pattern)


def named_last(path: Sequence[str]) -> str:
    """The last step of a path that is no index of an XML element, "" without one."""
    return next((step for step in reversed(path) if not step.isdecimal()), "")


def ends_alike(selector: Sequence[str], name: str) -> bool:
    """Whether a selector of XML elements can cover paths whose last name is this; False for most, and quickly."""
    end = selector[-2] if len(selector) > 1 else selector[-1]
    return end == name or (end != ONE_OR_NONE and is_pattern(end))


def matches(selector: Sequence[str], path: Sequence[str]) -> bool:
    """Whether a selector covers a leaf path; work is bounded by len(selector) x len(path)."""
    reach = {0}
    for pattern in selector:
        if pattern == "**":
            low = min(reach, default=len(path) + 1)
            reach = set(range(low, len(path) + 1))
            continue
        if pattern == ONE_OR_NONE:
            reach |= {at + 1 for at in reach if at < len(path) and path[at].isdecimal()}
            continue
        reach = {at + 1 for at in reach if at < len(path) and _step_matches(pattern, path[at])}
        if not reach:
            return False
    return len(path) in reach
