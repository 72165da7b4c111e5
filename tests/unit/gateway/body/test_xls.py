"""XLS: never patched, read and written anew as XLSX, with every value of its own type."""

import base64
import datetime
import io
import zlib
from collections.abc import Callable

import openpyxl
import pytest
import xlwt

from gateway.body.fault import BodyTooLarge, BodyUnreadable
from gateway.body.layer import Net
from gateway.body.limits import Limits
from gateway.body.media import Media, sniff
from gateway.body.xls import XLSX_TYPE, XlsPage

NAME = "Zqabcdefghijklmn"
PHONE = "+88871234567890"
Render = Callable[..., bytes]


def workbook(*rows: list[object]) -> bytes:
    book = xlwt.Workbook()
    sheet = book.add_sheet("Contacts")
    for y, row in enumerate(rows):
        for x, value in enumerate(row):
            style = (
                xlwt.easyxf(num_format_str="YYYY-MM-DD")
                if isinstance(value, datetime.date)
                else xlwt.Style.default_style
            )
            sheet.write(y, x, value, style)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def rows(data: bytes) -> list[list[object]]:
    sheet = openpyxl.load_workbook(io.BytesIO(data)).active
    assert sheet is not None
    return [list(row) for row in sheet.iter_rows(values_only=True)]


def test_hostile_values_are_written_as_text(render: Render, hostile: str) -> None:
    body = workbook(["Name", "n"], [NAME, 2.5], [f"a {NAME}", True])
    assert sniff("application/vnd.ms-excel", None, body) is Media.XLS
    out = render(Media.XLS, body, {NAME: hostile})
    hostile = hostile.replace("\r\n", "\n")  # XML 1.0, section 2.11
    assert rows(out) == [["Name", "n"], [hostile, 2.5], [f"a {hostile}", True]]
    sheet = openpyxl.load_workbook(io.BytesIO(out)).active
    assert sheet is not None
    assert sheet["A2"].data_type == "s"


def test_types_stay_and_the_format_is_announced(limits: Limits) -> None:
    page = XlsPage(workbook(["=1+1", 13800138000, datetime.date(2026, 1, 2)]), limits)
    assert (page.media_type, page.file_suffix) == (XLSX_TYPE, "xlsx")
    value = rows(page.render(lambda _: None, None))
    assert value[0][:2] == ["=1+1", 13800138000]
    assert str(value[0][2]).startswith("2026-01-02")


def test_numbers_that_are_surrogates_or_clear_values(render: Render, mask_phones: Net) -> None:
    body = workbook([float(PHONE[1:]), 13800138000, "13800138000"])
    assert rows(render(Media.XLS, body, {PHONE: "+86 1"}, net=mask_phones)) == [["+86 1", "138****8000", "138****8000"]]


def test_refused_workbooks(limits: Limits) -> None:
    with pytest.raises(BodyUnreadable):
        XlsPage(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), limits)
    with pytest.raises(BodyTooLarge):
        XlsPage(workbook(["a", "b"], ["c", "d"]), Limits(leaves=3))


# A workbook of the fuzzing drill whose one cell says that it stands at the far end: the native reader takes gigabytes.
FAR = (
    "eNq7cF7wwcKNUg8Z0IAdAzPDv/+cDGxIYoxAzAnjCDAA5f//BzFhNAcQ/x8FQwpwcgAjko2VYTfvGXZQHILi+yEDE8MGloNAkoHh"
    "ERDHMBQw+OXnpSrQFsTG2qHwncDOSGQEOcMWSDIyzAGK8DFIgh0mBCaTwaQwmFwPVrkHTDqARXrBpC1Q7QPGKIbz9n5aFtCEHMGk"
    "BJbjYwCZux2s5xZYxJBBlOEEKCHXT2CEqGVlcCzKTMwZnBJyLDwMSxiAUeeempdalJjzgEEEGIdLGL7+V2Bg+ALLrAcURsXpK87I"
    "ABT/gSrOjkV8MhMLA0MDw+8EcAJvBZavh5khEZz4h0EZnCJBmJWBISADmAWBmTWqMDEpOSU1LT0jMys7JzePC1Qqg3OxAEou5gUn"
    "bR4gmcLAD2YLgo0SAJbTf1Z+vOSbFGAfDxZpAJfckPJdFeQehv8MjSAdQM18YBkmuLwWmK0NJpvApkqD2VJgUgToUCCtFiAKZbg1"
    "g9W0gGXVgPYYg8Fle3UktgaQ3fo6cIdc62N7TSB7nfvDKpF11+0XMigBwyMFqB8Emxl0GHUYZ80EgZ32MJoRWhDcBZOSGIUCB5MA"
    "1O3/oZUYP8NfBi4wUxBMglQwYlHBCFYBIu2YhBi2gYPAAak25GIYBSMdWI0GwSgYBaNgFIyCUYAO8kpzckZDYZgCRmi/ANRdYYF0"
    "UcD9DnboiNBfIP43OsAybEEQQz4QlgD7s64MeUC6iKGSpPQjxsDKCDOLkUg9sJFGEAgH2l7EkM2QBHZHNsnpF9hvZET2D9EaBaiX"
    "hUi1/x8p7gQDDdo5AAD888OS"
)


def test_a_file_that_would_end_the_native_reader_is_a_fault() -> None:
    with pytest.raises((BodyTooLarge, BodyUnreadable)):
        XlsPage(zlib.decompress(base64.b64decode(FAR)), Limits())
