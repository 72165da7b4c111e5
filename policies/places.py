"""Where an answer shows declared fields, so that values which are still clear there are known for what they are.

Only needed while a CRM holds values that are not protected yet: a surrogate says itself what it is, a clear name does
not.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from policies.operation import FieldSpec


@dataclass(frozen=True, slots=True)
class Cell:
    """A place in a page. css: selects elements; field: what their text is; entity: only on pages about it, or "";
    within: what of the text it is, the first group of a pattern, or "" for each of its pieces."""

    css: str
    field: FieldSpec
    entity: str = ""
    within: str = ""


@dataclass(frozen=True, slots=True)
class Links:
    """Texts of links to records.

    css: which links (the title of any is looked at); url, label: keys of a JSON object that means the same; fields:
    entity of the record → what the text is.
    """

    css: str = ""
    url: str = ""
    label: str = ""
    fields: Mapping[str, FieldSpec] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Changes:
    """Lines of a history in a page that name the field by its label.

    row: selects the lines; label, values: what in them names the field, and what it held.
    """

    row: str
    label: str
    values: str


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of an answer without names of their own.

    pages: operation ids (fnmatch). header: selector of the list in the request that names the columns; dotted names,
    whose last part counts as a key. rows: path to the list of rows.
    """

    pages: tuple[str, ...]
    header: tuple[str, ...]
    rows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Places:
    """All places. keys: (entity or "", key of a JSON object) → field; a key inside objects is written `outer/key`."""

    cells: tuple[Cell, ...] = ()
    links: Links = field(default_factory=Links)
    keys: Mapping[tuple[str, str], FieldSpec] = field(default_factory=dict)
    rows: tuple[Rows, ...] = ()
    changes: tuple[Changes, ...] = ()

    def rows_of(self, operation_id: str) -> Rows | None:
        """The rule for rows in the answers of an operation."""
        return next((one for one in self.rows if any(fnmatchcase(operation_id, page) for page in one.pages)), None)


Resolve = Callable[[str | None, str, str], FieldSpec | None]


def compile_places(source: Mapping[str, Any], resolve: Resolve) -> Places:
    """The places of a validated profile source; `resolve` looks fields up and notes what does not exist."""

    def spec(name: str, entity: str) -> FieldSpec:
        return resolve(name, entity, "places") or FieldSpec(entity, name, None, 0)

    cells = tuple(
        Cell(css, spec(name, group.get("entity", "")), group.get("entity", ""), group.get("within", ""))
        for group in source.get("cells", ())
        for css, name in group["fields"].items()
    )
    links = source.get("links", {})
    keys = {
        (group.get("entity", ""), key): spec(name, group.get("entity", ""))
        for group in source.get("keys", ())
        for key, name in group["fields"].items()
    }
    titles = {entity: spec(name, entity) for entity, name in links.get("fields", {}).items()}
    rows = tuple(Rows(tuple(one["pages"]), tuple(one["header"]), tuple(one["rows"])) for one in source.get("rows", ()))
    changes = tuple(Changes(**one) for one in source.get("changes", ()))
    named = Links(links.get("css", ""), links.get("url", ""), links.get("label", ""), titles)
    return Places(cells, named, keys, rows, changes)


def with_columns(places: Places, tables: Mapping[str, Mapping[str, Any]], resolve: Resolve) -> Places:
    """The same places, and the columns of a query language's tables: answers name what they show as queries do.

    A key that `places` names itself stays as it is there. Of columns of one name in several tables, what the answer is
    about decides, else the first that is no free text: more may be hidden by that, never less.
    """
    keys: dict[tuple[str, str], FieldSpec] = {}
    for table in tables.values():
        found = {name: resolve(given, "", "tables") for name, given in table.get("columns", {}).items()}
        entities = Counter(spec.entity for spec in found.values() if spec is not None)
        entity = entities.most_common(1)[0][0] if entities else ""
        for name, spec in found.items():
            if spec is not None:
                keys.setdefault((entity, name), spec)
                if spec.kind is not None:
                    keys.setdefault(("", name), spec)
    return replace(places, keys={**keys, **places.keys}) if keys else places
