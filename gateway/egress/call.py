"""One call of the CRM to a service, opened: which values stand where, and the same call with some of them clear.

Values are opened in parameters, form fields and JSON strings only, written anew for the place they stand in. Header
fields, paths and bodies of other types keep their surrogates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.body import form, json, media
from gateway.body.layer import Finder
from gateway.body.leaf import Container, Leaf
from gateway.body.limits import Limits

FORM, JSON = "application/x-www-form-urlencoded", "application/json"


@dataclass(frozen=True, slots=True)
class Place:
    """A surrogate in one leaf; offsets in UTF-8 bytes of its text."""

    leaf: Leaf
    start: int
    end: int
    surrogate: str


class Call:
    """Query and body of a call; raises BodyFault where they promise structure and have none."""

    def __init__(self, path: str, query: str, content_type: str, body: bytes, limits: Limits) -> None:
        self._path, self._body = path, body
        self._query: Container | None = form.open_query(query, limits) if query else None
        declared = media.essence(content_type)
        self._inside: Container | None = None
        if body and declared == FORM:
            self._inside = form.open_form(body, media.charset_of(content_type, media.Media.FORM, body), limits)
        elif body and (declared == JSON or declared.endswith("+json")):
            self._inside = json.open_json(body, limits)
        self.leaves: list[Leaf] = [
            leaf for one in (self._query, self._inside) if one is not None for leaf in one.leaves
        ]

    def named(self, name: str) -> list[Leaf]:
        """Leaves of one field: its name, or a path of JSON keys with dots."""
        return [leaf for leaf in self.leaves if is_named(leaf, name)]

    def places(self, scanner: Finder, fields: Sequence[str]) -> list[Place]:
        """Surrogates in the fields that may be opened; in all of them where none is named."""
        found = []
        for leaf in self.leaves:
            if fields and not any(is_named(leaf, name) for name in fields):
                continue
            hits = scanner.find(leaf.text.encode("utf-8", "surrogatepass"))
            found += [Place(leaf, hit.start, hit.end, hit.canonical) for hit in hits]
        return found

    def open(self, places: Sequence[Place], clear: Callable[[str], str | None]) -> None:
        """Put the clear values in; None keeps a surrogate."""
        by_leaf: dict[int, list[Place]] = {}
        for place in places:
            by_leaf.setdefault(id(place.leaf), []).append(place)
        for mine in by_leaf.values():
            leaf, data, out, at = mine[0].leaf, mine[0].leaf.text.encode("utf-8", "surrogatepass"), b"", 0
            for place in mine:
                value = clear(place.surrogate)
                if value is not None:
                    out += data[at : place.start] + value.encode("utf-8", "replace")
                    at = place.end
            text = (out + data[at:]).decode("utf-8", "surrogatepass")
            if text != leaf.text:
                leaf.new = text

    @property
    def target(self) -> str:
        """Path and query as they go out."""
        return self._path + ("?" + self._query.encode().decode("latin-1") if self._query is not None else "")

    @property
    def body(self) -> bytes:
        """The body as it goes out."""
        return self._inside.encode() if self._inside is not None else self._body


def is_named(leaf: Leaf, name: str) -> bool:
    """Whether a leaf is the field of this name; positions in JSON arrays do not count."""
    keys = [key for key in leaf.path if not key.isdigit()]
    return ".".join(keys) == name or (bool(keys) and keys[-1] == name)
