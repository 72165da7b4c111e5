"""The difference of two bundles is about rows, not about spelling."""

from policies.difference import difference


def test_rows_that_come_and_go() -> None:
    found = difference("p, a, *, op:x, read, any\ng, a, b, *\n", "g,a,c,*\n# remark\np,a,*,op:x,read,any,allow\n")
    assert (found.added, found.removed) == (("g,a,c,*",), ("g,a,b,*",))


def test_lines_that_are_no_rows_are_left_out() -> None:
    assert difference("nonsense\n", "more nonsense\n").added == ()


def test_criteria_are_part_of_a_row_in_one_spelling() -> None:
    old = "p, a, *, field:c.phone, clear, team, where=c.region:South|NORTH, until=2026-12-31\n"
    assert difference(old, old.replace("South|NORTH", "north | south")).signed == ()
    assert difference(old, "").removed == (
        "p,a,*,field:c.phone,clear,team,allow,where=c.region:north|south,until=2027-01-01T00:00:00Z",
    )
