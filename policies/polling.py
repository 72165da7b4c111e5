"""Addresses that pages of a CRM ask for again and again by themselves: no sign that anybody is there."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_NAME = re.compile(r"\\\{[a-z_]+\\\}")


@dataclass(frozen=True, slots=True)
class Polling:
    """The paths as one pattern, still percent-encoded."""

    pattern: re.Pattern[str]

    def names(self, path: str) -> bool:
        """Whether a path is one of them."""
        return self.pattern.fullmatch(path) is not None


def compile_polling(paths: Sequence[str]) -> Polling | None:
    """From the profile's `polling`: paths in which `{name}` stands for one step; None where there are none."""
    if not paths:
        return None
    steps = (_NAME.sub("[^/]+", re.escape(path)) for path in paths)
    return Polling(re.compile("|".join(f"(?:{one})" for one in steps)))
