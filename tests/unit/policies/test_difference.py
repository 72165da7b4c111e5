"""The difference of two bundles is about rows, not about spelling."""

from policies.difference import difference


def test_rows_that_come_and_go() -> None:
    found = difference("p, a, *, op:x, read, any\ng, a, b, *\n", "g,a,c,*\n# remark\np,a,*,op:x,read,any,allow\n")
    assert (found.added, found.removed) == (("g,a,c,*",), ("g,a,b,*",))


def test_lines_that_are_no_rows_are_left_out() -> None:
    assert difference("nonsense\n", "more nonsense\n").added == ()
