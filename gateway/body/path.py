"""Values in the path of a request: a record by its e-mail address, or by another key that is a personal value.

A value that changes is written in the client's own way of escaping; everything else keeps its bytes.
"""

from collections.abc import Iterable, Sequence

from gateway.body.fault import BodyMalformed
from gateway.body.leaf import Leaf, changed
from policies.query.parsed import QueryInvalid
from policies.query.path import PathValue, named_value, path_value, with_value

Place = tuple[tuple[str, ...], PathValue]


class PathDocument:
    """A path and the values in it, each with what found it: a template, or the name of its place."""

    def __init__(self, path: str, places: Sequence[Place]) -> None:
        self._path = path
        self._places = sorted(places, key=lambda one: one[1].start)
        self.leaves = [Leaf(found, value.text) for found, value in self._places]

    def encode(self) -> bytes:
        """The path as the CRM gets it; raises BodyMalformed for a value that cannot stand in one."""
        path = self._path
        try:
            for leaf, (_, value) in reversed(list(zip(self.leaves, self._places, strict=True))):
                if changed(leaf):
                    path = with_value(path, value, leaf.new or "")
            return path.encode("latin-1")
        except ValueError:
            raise BodyMalformed("path") from None


def open_path(path: str, templates: Sequence[tuple[str, ...]], placed: Iterable[tuple[str, str]] = ()) -> PathDocument:
    """The value that one of the templates finds in a raw path, and those that the operation's own template names.

    placed: (name of the place, value). Raises: BodyMalformed where no template fits, a named value is no whole segment,
    or a value can be read in two ways.
    """
    found: list[Place] = []
    try:
        values = ((template, path_value(template, path)) for template in templates)
        found += next(([(template, value)] for template, value in values if value is not None), [])
        if templates and not found:
            raise BodyMalformed("path")
        for name, text in placed:
            named = named_value(text, path)
            if named is None:
                raise BodyMalformed("path")
            found.append(((name,), named))
    except QueryInvalid:
        raise BodyMalformed("path") from None
    return PathDocument(path, found)
