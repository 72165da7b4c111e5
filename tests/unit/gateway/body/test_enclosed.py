"""Files in JSON strings: found, opened as uploads, and written back only when something in them changed."""

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.body.enclosed import EnclosedFile, find_enclosed, open_enclosed
from gateway.body.fault import BodyTooLarge
from gateway.body.json import JsonDocument, open_json
from gateway.body.limits import Limits
from gateway.body.media import Media

TABLE = b"Name,Phone\r\nZhang,13800138000\r\n"


def document(value: object) -> JsonDocument:
    return open_json(orjson.dumps(value))


def files(opened: JsonDocument, limits: Limits | None = None) -> list[EnclosedFile]:
    leaves = {leaf.path: leaf.text for leaf in opened.leaves}
    found = [open_enclosed(leaf, leaves, limits or Limits()) for leaf in opened.leaves]
    return [one for one in found if one is not None]


def enclosed(data: bytes, name: str) -> dict[str, object]:
    return {"name": name, "data": {"__class__": "bytes", "base64": base64.encodebytes(data).decode()}}


def test_a_table_beside_its_name_is_opened_and_written_back() -> None:
    opened = document(enclosed(TABLE, "a.csv"))
    (file,) = files(opened)
    assert file.media is Media.CSV
    assert file.container is not None
    file.close()
    assert opened.encode() == orjson.dumps(enclosed(TABLE, "a.csv"))
    file.container.leaves[1].new = "+88871234567890"
    file.close()
    sent = orjson.loads(opened.encode())
    assert base64.b64decode(sent["data"]["base64"]) == TABLE.replace(b"13800138000", b"+88871234567890")


def test_a_data_url_is_a_file_by_its_own_type() -> None:
    opened = document({"photo": "data:text/csv;charset=utf-8;base64," + base64.b64encode(TABLE).decode()})
    (file,) = files(opened)
    assert file.media is Media.CSV
    assert file.container is not None
    file.container.leaves[0].new = "Zq"
    file.close()
    assert orjson.loads(opened.encode())["photo"].startswith("data:text/csv;charset=utf-8;base64,")


@pytest.mark.parametrize("text", ["data:text/csv,Name", "data:", "", "%%%", "QUJD"])
def test_what_is_no_enclosed_file_is_none(text: str) -> None:
    assert files(document({"a": text, "base64": text})) == []


def test_a_file_past_the_limit_is_refused() -> None:
    with pytest.raises(BodyTooLarge):
        files(document(enclosed(TABLE, "a.csv")), Limits(data_file=8))


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=4), st.booleans())
def test_files_of_an_answer_are_found_and_replaced(contents: list[bytes], lines: bool) -> None:
    encode = base64.encodebytes if lines else base64.b64encode
    body = orjson.dumps([{"__class__": "bytes", "base64": encode(one).decode()} for one in contents])
    spots = list(find_enclosed(body))
    assert [spot.data for spot in spots] == contents
    for spot in spots:
        start, end, new = spot.edit(spot.data)
        assert body[start:end] == new


def test_data_urls_of_an_answer_keep_their_type() -> None:
    raw = base64.b64encode(TABLE)
    for body in (b'{"a":"data:text/csv;base64,%s"}' % raw, b'{"a":"data:text\\/csv;name=x;base64,%s"}' % raw):
        (spot,) = find_enclosed(body)
        assert (spot.content_type, spot.data) == ("text/csv", TABLE)
