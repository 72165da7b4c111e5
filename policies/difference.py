"""What one bundle has and another has not: rows in one spelling, remarks and order left out."""

from dataclasses import dataclass

from policies.rows import Grant, Inheritance, read_lines


@dataclass(frozen=True, slots=True)
class Difference:
    """Rows that come and rows that go, sorted."""

    added: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def signed(self) -> tuple[str, ...]:
        """`+row` for each that comes, then `-row` for each that goes; rows name roles and fields, and no person."""
        return (*(f"+{row}" for row in self.added), *(f"-{row}" for row in self.removed))


def difference(old: str, new: str) -> Difference:
    """From the rows of `old` to those of `new`; lines that are no rows are left out."""
    before, after = _rows(old), _rows(new)
    return Difference(tuple(sorted(after - before)), tuple(sorted(before - after)))


def _rows(text: str) -> frozenset[str]:
    return frozenset(_spelt(row) for _, _, row in read_lines(text) if not isinstance(row, str))


def _spelt(row: Grant | Inheritance) -> str:
    if isinstance(row, Inheritance):
        return f"g,{row.role},{row.parent},{row.tenant}{row.tail}"
    return f"p,{row.role},{row.tenant},{row.obj},{row.right},{row.scope},{row.effect}{row.tail}"
