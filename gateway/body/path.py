"""The path of a request as a body with at most one value in it, where the profile says that a value stands there."""

from collections.abc import Iterable

from gateway.body.fault import BodyMalformed
from gateway.body.leaf import Leaf, changed
from policies.query.parsed import QueryInvalid
from policies.query.path import PathValue, path_value, with_value


class PathDocument:
    """A path and its value; the leaf's path is the template that found it."""

    def __init__(self, path: str, found: tuple[tuple[str, ...], PathValue] | None) -> None:
        self._path = path
        self._place = found[1] if found is not None else None
        self.leaves = [] if found is None else [Leaf(found[0], found[1].text)]

    def encode(self) -> bytes:
        """The path as the CRM gets it; raises BodyMalformed for a value that cannot stand in one."""
        if self._place is None or not changed(self.leaves[0]):
            return self._path.encode("latin-1")
        try:
            return with_value(self._path, self._place, self.leaves[0].new or "").encode("latin-1")
        except ValueError:
            raise BodyMalformed("path") from None


def open_path(path: str, templates: Iterable[tuple[str, ...]]) -> PathDocument:
    """The value that one of the templates finds in a raw path.

    Raises: BodyMalformed where none does, or the value can be read in two ways.
    """
    try:
        for template in templates:
            found = path_value(template, path)
            if found is not None:
                return PathDocument(path, (template, found))
    except QueryInvalid:
        pass
    raise BodyMalformed("path")
