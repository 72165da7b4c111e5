"""XLSX: exports are rendered part by part, imports are opened cell by cell; a real reader reads the values back."""

import io
import zipfile
from collections.abc import Callable

import openpyxl
import pytest

from gateway.body.fault import BodyMalformed, BodyTooLarge
from gateway.body.layer import Net
from gateway.body.limits import Limits
from gateway.body.media import Media
from gateway.body.xlsx import open_xlsx

NAME = "Zqabcdefghijklmn"
EMAIL = "e." + "abcdefgh" * 4 + "@enc.invalid"
PHONE = "+88871234567890"
Render = Callable[..., bytes]


def workbook(*rows: list[object]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)  # type: ignore[union-attr]
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def inline(*cells: str) -> bytes:
    """A workbook with inline strings and numeric entities, as one CRM writes them."""
    base = workbook(["a"])
    row = "".join(f'<c r="{chr(65 + i)}1" t="inlineStr"><is><t>{cell}</t></is></c>' for i, cell in enumerate(cells))
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    sheet = f'<worksheet xmlns="{space}"><sheetData><row r="1">{row}</row></sheetData></worksheet>'
    return replaced(base, "xl/worksheets/sheet1.xml", sheet.encode())


def replaced(data: bytes, name: str, part: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info, part if info.filename == name else old.read(info))
    return out.getvalue()


def rows(data: bytes) -> list[list[object]]:
    sheet = openpyxl.load_workbook(io.BytesIO(data)).active
    assert sheet is not None
    return [list(row) for row in sheet.iter_rows(values_only=True)]


def test_hostile_values_are_read_back_as_text(render: Render, hostile: str) -> None:
    out = render(Media.XLSX, workbook(["Name", "E-mail", 5], [NAME, f"x {NAME}", 1.5]), {NAME: hostile})
    assert rows(out) == [["Name", "E-mail", 5], [hostile, f"x {hostile}", 1.5]]
    sheet = openpyxl.load_workbook(io.BytesIO(out)).active
    assert sheet is not None
    assert sheet["A2"].data_type == "s"


def test_inline_strings_with_entities(render: Render) -> None:
    body = inline(NAME, EMAIL.replace("@", "&#64;"), PHONE.replace("+", "&#43;"))
    out = render(Media.XLSX, body, {NAME: "<张>", EMAIL: "a&b@example.com", PHONE: "+8613800138000"})
    assert rows(out) == [["<张>", "a&b@example.com", "+8613800138000"]]


def test_formulas_stay_and_recognisers_mask_cells(render: Render, mask_phones: Net) -> None:
    out = render(Media.XLSX, workbook(["13800138000", 13800138000, '="13800138000"']), {}, net=mask_phones)
    assert rows(out) == [["138****8000", "138****8000", '="13800138000"']]


def test_a_workbook_without_surrogates_keeps_its_bytes(render: Render) -> None:
    body = workbook(["a", 1])
    assert render(Media.XLSX, body, {}) == body


def test_imports_have_labelled_leaves() -> None:
    book = open_xlsx(workbook(["Last name", "电话", "Note"], ["Zhang", 13800138000, "x"], ["Li", None, "=1+1"]))
    assert [(leaf.path, leaf.text, leaf.bare) for leaf in book.leaves] == [
        (("Last name", "1"), "Zhang", False), (("电话", "1"), "13800138000", True), (("Note", "1"), "x", False),
        (("Last name", "2"), "Li", False),
    ]  # fmt: skip
    assert dict(book.leaves[0].siblings) == {"Last name": "Zhang", "电话": "13800138000", "Note": "x"}


def test_changed_cells_leave_no_trace_of_the_old_text() -> None:
    data = workbook(["Name", "Phone"], ["Zhang<Wei", 13800138000], ["Zhang<Wei", "n"])
    book = open_xlsx(data)
    assert book.encode() == data
    for leaf in book.leaves[:3]:
        leaf.new = NAME + "<&" if not leaf.bare else PHONE
    out = book.encode()
    assert rows(out) == [["Name", "Phone"], [NAME + "<&", PHONE], [NAME + "<&", "n"]]
    with zipfile.ZipFile(io.BytesIO(out)) as archive:
        assert not any(b"Wei" in archive.read(name) for name in archive.namelist())


def test_a_shared_text_that_another_cell_uses_is_kept() -> None:
    book = open_xlsx(workbook(["Name", "Note"], ["Zhang", "Zhang"]))
    book.leaves[0].new = NAME
    assert rows(book.encode())[1] == [NAME, "Zhang"]


def test_refused_workbooks() -> None:
    data = workbook(["a"])
    with pytest.raises(BodyMalformed):
        open_xlsx(replaced(data, "xl/worksheets/sheet1.xml", b'<!DOCTYPE a [<!ENTITY b "c">]><worksheet/>'))
    with pytest.raises(BodyMalformed):
        open_xlsx(b"PK\x03\x04broken")
    with pytest.raises(BodyTooLarge):
        open_xlsx(workbook(["a"], ["b"], ["c"]), Limits(leaves=1))
    part = b'<worksheet><row r="1"><c r="A1" t="s"><v>99999</v></c></row></worksheet>'
    with pytest.raises(BodyMalformed):
        open_xlsx(replaced(data, "xl/worksheets/sheet1.xml", part))


def test_hostile_parts_take_linear_time() -> None:
    data = workbook(["a"])
    for name, piece in (("xl/sharedStrings.xml", b"<si><t>"), ("xl/sharedStrings.xml", b"<si><rPh>")):
        open_xlsx(replaced(data, name, b"<sst>" + piece * 50_000), Limits(ratio=10_000))
