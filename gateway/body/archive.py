"""Archives that come in: every file inside is opened as if it came by itself, and the archive is written anew.

It is always written anew: comments, extra fields and what stands between the entries would go on unread otherwise.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace

from gateway.body.fault import BodyMalformed, BodyUnreadable
from gateway.body.leaf import Container, Leaf
from gateway.body.limits import Limits
from gateway.body.xlsx import XlsxDocument
from gateway.body.zip import UTF8, Entry, name_of, read_entries, write_entries

Opener = Callable[[str, bytes, Limits, bool], Container | None]
_OFFICE = ("word/", "ppt/")
_OFFICE_TEXTS = (".xml", ".rels")


class ArchiveDocument:
    """The files of an archive. leaves: the name of each, a text without a path, and what is in those that were opened.

    columns: the labels of all columns of all workbooks; inflated, count: bytes and entries, archives inside included.
    opaque: whether files are inside that nobody looked into, pictures in a document apart.
    """

    def __init__(self, members: Sequence[tuple[Entry, Leaf, Container | None]], *, office: bool) -> None:
        self._members = members
        self.opaque = False
        self.leaves: list[Leaf] = []
        self.inflated, self.count = 0, len(members)
        columns: dict[str, None] = {}
        for entry, name, inside in members:
            self.leaves.append(name)
            self.inflated += len(entry.data)
            if inside is not None:
                self.leaves += inside.leaves
            elif entry.data and not office:
                self.opaque = True
            if isinstance(inside, ArchiveDocument):
                self.opaque = self.opaque or inside.opaque
            if isinstance(inside, ArchiveDocument | XlsxDocument):
                columns.update(dict.fromkeys(inside.columns))
                self.inflated += inside.inflated
                self.count += inside.count
        self.columns: tuple[str, ...] = tuple(columns)

    def encode(self) -> bytes:
        """A new archive in the same order; raises BodyMalformed when two names have become one."""
        out = []
        for entry, name, inside in self._members:
            info = copy(entry.info)
            info.filename, info.flag_bits = name.text if name.new is None else name.new, info.flag_bits | UTF8
            out.append((info, entry.data if inside is None else inside.encode()))
        if len({info.filename for info, _ in out}) != len(out):
            raise BodyMalformed("zip-duplicate-entry")
        return write_entries(out)


def open_archive(data: bytes, limits: Limits, opener: Opener) -> ArchiveDocument:
    """Opens an archive; all that is inside, archives included, shares the limits.

    opener: from name, bytes, what is left of the limits, and whether it is a part of an office document. One file that
    cannot be opened closes the archive: raises BodyMalformed, BodyTooLarge, BodyTooDeep, BodyUnreadable,
    DecompressionLimit.
    """
    entries = read_entries(data, limits)
    names = [name_of(entry.info) for entry in entries]
    _require_no_workbook(entries, names)
    office = "[Content_Types].xml" in names and any(name.startswith(_OFFICE) for name in names)
    left = replace(
        limits,
        inflated=limits.inflated - sum(len(entry.data) for entry in entries),
        entries=limits.entries - len(entries),
    )
    members: list[tuple[Entry, Leaf, Container | None]] = []
    for entry, name in zip(entries, names, strict=True):
        inside = None
        if entry.data and not entry.info.is_dir():
            inside = opener(name, entry.data, left, office and name.lower().endswith(_OFFICE_TEXTS))
        members.append((entry, Leaf((), name), inside))
        if inside is not None:
            left = replace(left, leaves=left.leaves - len(inside.leaves))
        if isinstance(inside, ArchiveDocument | XlsxDocument):
            left = replace(left, inflated=left.inflated - inside.inflated, entries=left.entries - inside.count)
    return ArchiveDocument(members, office=office)


def _require_no_workbook(entries: Sequence[Entry], names: Sequence[str]) -> None:
    """Tables in forms that nobody here reads: binary workbooks, and those of OpenDocument."""
    if any(name.lower().startswith("xl/") for name in names):
        raise BodyUnreadable("workbook")
    for entry, name in zip(entries, names, strict=True):
        if name == "mimetype" and entry.data.startswith(b"application/vnd.oasis"):
            raise BodyUnreadable("open-document")
