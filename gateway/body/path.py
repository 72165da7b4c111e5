"""Values in the path of a request, such as an e-mail address that names a record.

A value that changes is written in the client's own way of escaping; all other segments stay as they came.
"""

from collections.abc import Sequence
from urllib.parse import quote, unquote

from gateway.body.fault import BodyMalformed
from gateway.body.leaf import Leaf, changed


class PathDocument:
    """The values of a path by the names of their places. Raises BodyMalformed where a value is no whole segment."""

    def __init__(self, path: str, placed: Sequence[tuple[str, str]]) -> None:
        self._segments = path.split("/")
        self._at: list[int] = []
        self.leaves: list[Leaf] = []
        for name, value in placed:
            found = [at for at, segment in enumerate(self._segments) if unquote(segment) == value]
            if not found:
                raise BodyMalformed("path-value")
            self._at.append(found[-1])
            self.leaves.append(Leaf((name,), value))

    def encode(self) -> bytes:
        """The path as it is now."""
        segments = list(self._segments)
        for leaf, at in zip(self.leaves, self._at, strict=True):
            if changed(leaf) and leaf.new is not None:
                segments[at] = quote(leaf.new, safe="@" if "@" in self._segments[at] else "")
        return "/".join(segments).encode("ascii")
