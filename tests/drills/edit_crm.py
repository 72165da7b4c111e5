"""The CRM of the edit drill: contacts in memory behind HTML forms, REST JSON, bulk edit and import of CSV and XLSX.

PUT replaces, PATCH merges. It keeps every text exactly as it came, so that it holds what the gateway let through.
"""

import contextlib
import csv
import io
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import openpyxl
from python_multipart.multipart import MultipartParser, parse_options_header

PROFILE = Path(__file__).with_name("edits.yaml")
POLICY = Path(__file__).with_name("edits.csv")
DECLARED = ("name", "email", "phone", "mobile", "id_card", "bank_card", "address")
TABLE = (*DECLARED, "note", "stage")  # columns of exports and imports
APART = ("birthday", "memo")  # a date kept beside the CRM, a text kept as a cell: neither goes into tables
FIELDS = (*TABLE, *APART)
NOBODYS_YEAR = "1900-"  # the CRM holds one of its days instead of a date
_LONG = ("address", "note", "memo")
_DATE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}|")


@dataclass(slots=True)
class Named:
    """What `installed` asks of a CRM: the name of its profile."""

    name: str = str(PROFILE)


@dataclass(slots=True)
class EditCrm:
    """The running server. contacts: by number, every field a text."""

    port: int
    crm: Named = field(default_factory=Named)
    user_ids: Mapping[str, str] = field(default_factory=dict)
    passwords: Mapping[str, str] = field(default_factory=dict)
    contacts: dict[int, dict[str, str]] = field(default_factory=dict)
    writes: int = 0

    def add(self, values: Mapping[str, Any]) -> int:
        """Keep a new contact; its number."""
        number = len(self.contacts) + 1
        self.contacts[number] = dict.fromkeys(FIELDS, "")
        self.change(number, values)
        return number

    def change(self, number: int, values: Mapping[str, Any]) -> None:
        """Merge values into a contact; raises KeyError when there is none, ValueError for what is no date."""
        if _DATE.fullmatch(str(values.get("birthday", ""))) is None:
            raise ValueError("birthday")
        self.contacts[number].update({name: str(value) for name, value in values.items() if name in FIELDS})
        self.writes += 1

    def row(self, number: int) -> dict[str, Any]:
        """A contact as the API gives it."""
        return {"id": number, **self.contacts[number]}


@contextlib.contextmanager
def edit_crm() -> Iterator[EditCrm]:
    """A running CRM on a free port, empty."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    crm = server.crm = EditCrm(server.server_address[1])  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield crm
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body of an answer leave in one piece: in two, each waits 40 ms for an acknowledgement of the first.
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""

    def do_GET(self) -> None:
        """Pages, records, exports."""
        crm: EditCrm = self.server.crm  # type: ignore[attr-defined]
        match self.path.split("?")[0].strip("/").split("/"):
            case ["contacts", number]:
                self._html(_page(crm.row(int(number))))
            case ["contacts", number, "edit"]:
                self._html(_form(crm.row(int(number))))
            case ["api", "contacts", number]:
                self._json(200, crm.row(int(number)))
            case ["export", numbers, "csv"]:
                self._send(200, "text/csv; charset=utf-8", _as_csv([crm.row(n) for n in _numbers(numbers)]))
            case ["export", numbers, "xlsx"]:
                self._send(200, XLSX, as_xlsx([crm.row(n) for n in _numbers(numbers)]))
            case _:
                self._send(404, "text/plain", b"")

    def do_POST(self) -> None:
        """Creates, forms, bulk edits, imports."""
        self._or_complain(self._post)

    def do_PUT(self) -> None:
        """Replace: what is not named is emptied."""
        self._or_complain(self._put)

    def do_PATCH(self) -> None:
        """Merge: what is not named stays."""
        self._or_complain(self._patch)

    def _or_complain(self, write: Callable[[], None]) -> None:
        try:
            write()
        except ValueError:
            self._json(422, {"detail": "Enter a valid date."})

    def _post(self) -> None:
        crm: EditCrm = self.server.crm  # type: ignore[attr-defined]
        body = self._body()
        match self.path.split("?")[0].strip("/").split("/"):
            case ["api", "contacts"]:
                self._json(201, {"id": crm.add(json.loads(body))})
            case ["contacts", number, "edit"]:
                crm.change(int(number), dict(parse_qsl(body.decode(), keep_blank_values=True)))
                self._send(303, "text/plain", b"", [("Location", f"/contacts/{number}")])
            case ["api", "bulk"]:
                given = json.loads(body)
                for number in given["ids"]:
                    crm.change(int(number), given["set"])
                self._json(200, {"changed": len(given["ids"])})
            case ["contacts", "bulk"]:
                pairs = parse_qsl(body.decode(), keep_blank_values=True)
                numbers = [int(value) for name, value in pairs if name == "ids"]
                for number in numbers:
                    crm.change(number, {name: value for name, value in pairs if name != "ids"})
                self._send(303, "text/plain", b"", [("Location", "/")])
            case ["contacts", "import"]:
                rows = _imported(self.headers["content-type"], body)
                for row in rows:
                    crm.change(int(row["id"]), row)
                self._json(200, {"changed": len(rows)})
            case _:
                self._send(404, "text/plain", b"")

    def _put(self) -> None:
        crm: EditCrm = self.server.crm  # type: ignore[attr-defined]
        number = int(self.path.rpartition("/")[2])
        crm.change(number, {**dict.fromkeys(FIELDS, ""), **json.loads(self._body())})
        self._json(200, crm.row(number))

    def _patch(self) -> None:
        crm: EditCrm = self.server.crm  # type: ignore[attr-defined]
        number = int(self.path.rpartition("/")[2])
        crm.change(number, json.loads(self._body()))
        self._json(200, crm.row(number))

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("transfer-encoding", ""):
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("content-length", "0")))

    def _html(self, text: str) -> None:
        self._send(200, "text/html; charset=utf-8", text.encode())

    def _json(self, status: int, value: Any) -> None:
        self._send(status, "application/json", json.dumps(value, ensure_ascii=False).encode())

    def _send(self, status: int, media: str, body: bytes, more: Sequence[tuple[str, str]] = ()) -> None:
        self.send_response(status)
        for name, value in (("Content-Type", media), ("Content-Length", str(len(body))), *more):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def _numbers(text: str) -> list[int]:
    return [int(one) for one in text.split("-")]


def _page(row: Mapping[str, Any]) -> str:
    lines = "".join(f'<dt>{name}</dt><dd class="{name}">{escape(str(row[name]))}</dd>' for name in FIELDS)
    return f"<!DOCTYPE html><title>{escape(str(row['name']))}</title><dl>{lines}</dl>"


def _form(row: Mapping[str, Any]) -> str:
    controls = "".join(
        f'<textarea name="{name}">\n{escape(str(row[name]))}</textarea>'
        if name in _LONG
        else f'<input type="{_type(name)}" name="{name}" value="{escape(str(row[name]))}">'
        for name in FIELDS
    )
    return f'<!DOCTYPE html><form method="post" action="/contacts/{row["id"]}/edit">{controls}</form>'


def _type(name: str) -> str:
    return {"email": "email", "phone": "tel", "mobile": "tel"}.get(name, "text")


def _as_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    return as_csv(rows, ("id", *TABLE))


def as_csv(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> bytes:
    """A table with these columns."""
    out = io.StringIO()
    writer = csv.DictWriter(out, names, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def as_xlsx(rows: Sequence[Mapping[str, Any]], names: Sequence[str] = ("id", *TABLE)) -> bytes:
    """A workbook with these columns, every cell a text."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(list(names))
    for row in rows:
        sheet.append([str(row[name]) for name in names])
        for cell in sheet[sheet.max_row]:
            cell.data_type = "s"
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def rows_of(media: str, body: bytes) -> list[dict[str, str]]:
    """The rows of a table as the CRM, or a person with a spreadsheet, reads them."""
    if media.startswith(XLSX):
        sheet = openpyxl.load_workbook(io.BytesIO(body)).active
        assert sheet is not None
        first, *rest = [
            ["" if cell is None else str(cell) for cell in row] for row in sheet.iter_rows(values_only=True)
        ]
        return [dict(zip(first, row, strict=True)) for row in rest]
    return list(csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline="")))


def _imported(content_type: str, body: bytes) -> list[dict[str, str]]:
    """Rows of the file in a multipart form."""
    boundary = parse_options_header(content_type)[1][b"boundary"]
    heads: list[dict[str, str]] = []
    contents: list[bytearray] = []
    name = bytearray()
    value = bytearray()

    def begin() -> None:
        heads.append({})
        contents.append(bytearray())

    def end_header() -> None:
        heads[-1][name.decode().lower()] = value.decode()
        name.clear()
        value.clear()

    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": begin,
            "on_header_field": lambda data, start, end: name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: value.extend(data[start:end]),
            "on_header_end": end_header,
            "on_part_data": lambda data, start, end: contents[-1].extend(data[start:end]),
        },
    )
    parser.write(body)
    parser.finalize()
    for head, content in zip(heads, contents, strict=True):
        if "filename" in head.get("content-disposition", ""):
            return rows_of(head.get("content-type", ""), bytes(content))
    raise ValueError("no file")
