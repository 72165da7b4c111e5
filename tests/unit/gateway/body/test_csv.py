"""CSV: cells are read back as they are, formulas are guarded, quoting and charset stay."""

import csv
import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.body.csv import open_csv, separator_of
from gateway.body.fault import BodyMalformed, BodyTooLarge
from gateway.body.layer import Net
from gateway.body.limits import Limits
from gateway.body.media import Media
from policies.decision import Form
from privacy.render import Context, Shown, encode, unguarded

NAME = "Zqabcdefghijklmn"
EMAIL = "e." + "abcdefgh" * 4 + "@enc.invalid"
PHONE = "+88871234567890"
Render = Callable[..., bytes]


def cells(data: bytes, separator: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=separator))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("quoted", [False, True])
def test_hostile_values_are_read_back_and_guarded(render: Render, hostile: str, separator: str, quoted: bool) -> None:
    cell = f'"{NAME}"' if quoted else NAME
    body = separator.join(["Last name", "Phone", "Note"]) + "\r\n" + separator.join([cell, "1", f"a {NAME} b"]) + "\r\n"
    rows = cells(render(Media.CSV, body, {NAME: hostile}), separator)
    guard = "'" if hostile[0] in "=+-@%" else ""
    assert rows == [["Last name", "Phone", "Note"], [guard + hostile, "1", f"a {hostile} b"]]


def test_everything_else_keeps_its_bytes(render: Render) -> None:
    body = f'\ufeffa,"b ""x""",c\n{NAME}, y ,"{NAME}"\r\n\n"open,{PHONE}'
    out = render(Media.CSV, body, {NAME: "Zhang, Wei", PHONE: "+8613800138000"}).decode()
    assert out == body.replace(f'"{NAME}"', '"Zhang, Wei"').replace(NAME, '"Zhang, Wei"').replace(
        PHONE, "+8613800138000"
    )


@pytest.mark.parametrize(
    ("cell", "value", "written"),
    [
        (f"'{PHONE}", "+8613800138000", "'+8613800138000"),
        (PHONE, "+8613800138000", "+8613800138000"),
        (f"'{PHONE}", "•••", "•••"),
        (f"'{PHONE}", "+86****8000", "'+86****8000"),
        (NAME, "'+86", "''+86"),
        (f"'{PHONE}", "138-0013-8000", "138-0013-8000"),
        (f"see '{PHONE}", "138-0013-8000", "see '138-0013-8000"),
        (PHONE, "=1+1", "'=1+1"),
        (f"tel {PHONE}", "=1+1", "tel =1+1"),
    ],
)
def test_guards_are_neither_lost_nor_doubled(render: Render, cell: str, value: str, written: str) -> None:
    assert render(Media.CSV, f"a,b\n{cell},x\n", {PHONE: value, NAME: value}).decode() == f"a,b\n{written},x\n"


def test_people_get_the_readable_mask(render: Render) -> None:
    shown = {EMAIL: Shown(Form.MASKED, "z***@x.com", "wire"), NAME: Shown(Form.HIDDEN, "••••", NAME)}
    assert render(Media.CSV, f"e,n\n{EMAIL},{NAME}\n", shown).decode() == "e,n\nz***@x.com,••••\n"


def test_the_charset_stays(render: Render) -> None:
    body = f"Größe,Name\nx,{NAME}\n".encode("latin-1")
    assert render(Media.CSV, body, {NAME: "Müller 张"}, charset="latin-1") == "Größe,Name\nx,Müller ?\n".encode(
        "latin-1"
    )
    body = f"姓名,电话\n{NAME},1\n".encode("gbk")
    assert render(Media.CSV, body, {NAME: "张伟"}, charset="gbk") == "姓名,电话\n张伟,1\n".encode("gbk")
    body = f"\ufeffa,b\n{NAME},1\n".encode("utf-16-le")
    assert render(Media.CSV, body, {NAME: "张伟"}, charset="utf-16-le").decode("utf-16") == "a,b\n张伟,1\n"


def test_recognisers_see_cells(render: Render, mask_phones: Net) -> None:
    body = f'a,b\n13800138000,"x ""13800138000"""\n{NAME} 13800138000,13800138000\n'
    out = render(Media.CSV, body, {NAME: "13800138000"}, net=mask_phones).decode()
    assert out == 'a,b\n138****8000,"x ""138****8000"""\n13800138000 138****8000,138****8000\n'


CELL = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from('",;\n'), max_size=6)


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=4), CELL)
def test_leaves_are_the_cells_and_changes_are_read_back(rows: list[tuple[str, str]], new: str) -> None:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([("Name", "Phone"), *rows])
    data = out.getvalue().encode()
    table = open_csv(data, "utf-8")
    assert [leaf.text for leaf in table.leaves] == [cell for row in rows for cell in row]
    assert [leaf.path for leaf in table.leaves[:2]] == [("Name", "1"), ("Phone", "1")]
    assert table.encode() == data
    table.leaves[0].new = new
    table.leaves[-1].new = new
    expected = [cell for row in rows for cell in row]
    expected[0] = expected[-1] = new
    assert [cell for row in cells(table.encode())[1:] for cell in row] == expected


def test_charsets_are_guessed_for_imports() -> None:
    assert open_csv("姓名\n张伟\n".encode("gbk")).leaves[0].text == "张伟"
    table = open_csv("姓名,电话\r\n张伟,13800138000\r\n".encode("gb18030"))
    table.leaves[0].new = NAME
    assert table.encode() == f"姓名,电话\r\n{NAME},13800138000\r\n".encode("gb18030")
    assert dict(table.leaves[0].siblings) == {"姓名": "张伟", "电话": "13800138000"}
    assert open_csv("a\nx\n".encode("utf-16")).leaves[0].text == "x"


def test_separators() -> None:
    assert separator_of(b"a;b;c\n1,2;3;4") == b";"
    assert separator_of(b'"a,b,c";d\n') == b";"
    assert separator_of(b"sep=|\r\na|b") == b"|"
    assert separator_of(b"a") == b","
    assert open_csv(b"sep=;\na;b\n1;2\n").leaves[1].path == ("b", "1")


def test_limits() -> None:
    with pytest.raises(BodyTooLarge):
        open_csv(b"a,b\n1,2\n3,4\n", limits=Limits(leaves=2))


def test_a_table_with_a_nul_is_refused() -> None:
    """Another reader may take it for wide characters or for an end, and find other cells than ours."""
    with pytest.raises(BodyMalformed):
        open_csv(b"name,phone\nAnna\0,13800138000\n")


@pytest.mark.parametrize("cell", ["'+8613800138000", "'-5", "'=1+1", "'@x"])
def test_a_guard_that_the_crm_itself_wrote_is_no_part_of_the_value(cell: str) -> None:
    assert [leaf.text for leaf in open_csv(f"phone\n{cell}\n".encode()).leaves] == [cell[1:]]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_the_guard_of_an_export_is_taken_off_again_by_an_import(text: str) -> None:
    assert unguarded(encode(text, Context.CSV_CELL)) == text


@pytest.mark.parametrize(
    "text",
    ["'+8613800138000", "-1层 建国路", "'-1", "''=1+1", "' @x", "O'Brien", "'quoted'", "+86 139", "=HYPERLINK()"],
)
def test_guarded_cells_come_in_as_they_were(text: str) -> None:
    cell = encode(text, Context.CSV_CELL)
    document = open_csv(f'address\n"{cell}"\n'.encode())
    assert [leaf.text for leaf in document.leaves] == [text]
