"""Departments and positions of people, as rows of a policy name them: `dept:sales`, `position:lead`.

They stand where roles stand and inherit as roles do; who is in which is said of the person, never in the policy.
"""

import re
import unicodedata
from collections.abc import Iterable

DEPARTMENT, POSITION = "dept", "position"
_NAME = re.compile(r"[^\W_][\w.-]{0,63}\Z")  # letters of any script: departments are called as people call them
_PREFIXES = (f"{DEPARTMENT}:", f"{POSITION}:")


class PlacementInvalid(ValueError):  # noqa: N818 - says what is wrong
    """A name that no department or position can have."""

    permanent = True


def placement(kind: str, name: str) -> str:
    """How rows name a department or position. Raises PlacementInvalid."""
    found = f"{kind}:{unicodedata.normalize('NFC', name.strip())}"
    if not is_placement(found):
        raise PlacementInvalid(name)
    return found


def is_placement(name: str) -> bool:
    """Whether a name in the place of a role is that of a department or position, in its one spelling."""
    if not name.startswith(_PREFIXES):
        return False
    bare = name.partition(":")[2]
    return _NAME.match(bare) is not None and unicodedata.is_normalized("NFC", bare)


def placements(names: Iterable[str]) -> tuple[str, ...]:
    """Those of these names that are departments or positions."""
    return tuple(name for name in names if name.startswith(_PREFIXES))


def roles_alone(names: Iterable[str]) -> tuple[str, ...]:
    """Those of these names that are roles."""
    return tuple(name for name in names if not name.startswith(_PREFIXES))


def departments(names: Iterable[str]) -> frozenset[str]:
    """Those of these names that are departments, without `dept:`."""
    return frozenset(name.partition(":")[2] for name in names if name.startswith(f"{DEPARTMENT}:"))
