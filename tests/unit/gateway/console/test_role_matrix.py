"""The table of roles says what is different in exports, revealed, limited to some records, or to some time."""

from gateway.console.role_matrix import Limit, build
from policies.enforcer import Enforcer
from policies.operation import FieldSpec
from policies.taxonomy import Kind

ROWS = """p, a, *, field:contact.phone, clear, own
p, a, *, field:contact.phone, masked, any
p, a, *, field:contact.phone, reveal, other
p, a, *, field:contact.phone, export, any, deny
p, b, *, field:contact.phone, clear, any, where=contact.region:north
p, b, *, field:contact.phone, clear, team, until=2020-12-31
p, b, *, field:contact.phone, masked, any, deny, where=contact.value:>=100
g, c, b, *
"""


def test_a_cell_tells_exports_revealing_and_what_is_limited() -> None:
    fields = [FieldSpec("contact", "phone", Kind.PHONE, 50), FieldSpec("contact", "note", None, 50)]
    bundle = Enforcer(fields, []).load(ROWS)
    names = ("a", "b", "c")
    views = {name: bundle.view("t", (name,)) for name in names}
    exports = {name: bundle.export_view("t", (name,)) for name in names}
    (table,) = build(fields, views, exports, lambda role, obj: bundle.limited("t", (role,), obj))
    (row,) = table.rows
    a, b, c = row.cells
    assert (a.own, a.other, a.own_export, a.other_export, a.reveal) == ("clear", "masked", "masked", "masked", "other")
    assert (a.exports_differ, a.exports_same, a.limits) == (True, True, ())
    assert (b.own, b.other, b.exports_differ, b.reveal) == ("hidden", "hidden", False, "")
    assert b.limits == (
        Limit(False, "clear any where=contact.region:north"),
        Limit(False, "clear team until=2021-01-01T00:00:00Z"),
        Limit(True, "masked any where=contact.value:>=100"),
    )
    assert c.limits == b.limits
