"""The SOAP side of the small Salesforce: partner and enterprise calls in their documented envelopes."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from tests.hosted.rows import Source, Unsupported, select
from tests.hosted.salesforce import full_id
from tests.hosted.service import Named, Record, Service

PARTNER, ENTERPRISE = "urn:partner.soap.sforce.com", "urn:enterprise.soap.sforce.com"
PARTNER_PATH, ENTERPRISE_PATH = "/services/Soap/u/60.0", "/services/Soap/c/60.0"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
SESSION = "00D5g0000000001!AQ0AQ.session"
TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_PREFIXES = {"Contact": "003", "Lead": "00Q", "Account": "001", "Case": "500"}


@contextlib.contextmanager
def salesforce_soap() -> Iterator[Service]:
    """A running Salesforce that speaks SOAP, without records."""
    service = Service(Named("salesforce"))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            service.arrived.append(f"{self.requestline}\n{self.headers}".encode() + body)
            status, answer = _answer(service, body)
            data = f'<?xml version="1.0" encoding="UTF-8"?>{answer}'.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/xml; charset=utf-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Tests read `arrived`."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        service.port = server.server_address[1]
        accepting = threading.Thread(target=server.serve_forever, daemon=True)
        accepting.start()
        try:
            yield service
        finally:
            server.shutdown()
            accepting.join()


def envelope(call: str, inside: str, namespace: str = PARTNER, session: str = SESSION) -> str:
    """A request as clients write it, prefixes and a comment of a tool included."""
    header = f"<urn:SessionHeader><urn:sessionId>{session}</urn:sessionId></urn:SessionHeader>" if session else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<soapenv:Envelope xmlns:soapenv="{SOAP}" xmlns:urn="{namespace}"'
        f' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\n  <soapenv:Header>{header}</soapenv:Header>\n'
        f"  <soapenv:Body>\n    <urn:{call}><!--Optional:-->{inside}</urn:{call}>\n  </soapenv:Body>\n"
        "</soapenv:Envelope>"
    )


def records(*rows: Record) -> str:
    """sObjects of the partner API."""
    inside = ("".join(f"<{name}>{escape(str(text))}</{name}>" for name, text in row.items()) for row in rows)
    return "".join(f"<urn:sObjects>{one}</urn:sObjects>" for one in inside)


def _answer(service: Service, body: bytes) -> tuple[int, str]:
    root = ET.fromstring(body)
    call = next(iter(root.find(f"{{{SOAP}}}Body") or ()))
    space, _, name = call.tag[1:].partition("}")
    session = root.find(f".//{{{space}}}sessionId")
    if name == "login":
        return 200, _whole(space, name, f"<result><sessionId>{SESSION}</sessionId></result>")
    if session is None or not (session.text or "").startswith(SESSION):
        return 500, _fault("INVALID_SESSION_ID", "Invalid Session ID found in SessionHeader")
    match name:
        case "create":
            made = "".join(_saved(_create(service, one)) for one in call if _local(one) == "sObjects")
            return 200, _whole(space, name, made)
        case "update":
            return 200, _whole(space, name, "".join(_update(service, one) for one in call if _local(one) == "sObjects"))
        case "query":
            text = call.findtext(f"{{{space}}}queryString") or ""
            return _query(service, space, text)
        case "retrieve":
            kind = call.findtext(f"{{{space}}}sObjectType") or ""
            wanted = [one.text or "" for one in call if _local(one) == "ids"]
            table = service.tables.get(kind, {})
            found = [table[one] for one in wanted if one in table]
            return 200, _whole(space, name, "".join(f"<result>{_row(kind, row)}</result>" for row in found))
        case "delete":
            ids = [one.text or "" for one in call if _local(one) == "ids"]
            for table in service.tables.values():
                for one in ids:
                    table.pop(one, None)
            return 200, _whole(space, name, "".join(_saved(one) for one in ids))
    return 500, _fault("UNKNOWN_EXCEPTION", f"no such call: {name}")


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _given(element: ET.Element) -> tuple[str, Record]:
    values = {_local(one): one.text or "" for one in element}
    kind = (element.get(TYPE) or values.pop("type", "")).rpartition(":")[2]
    return kind, values


def _create(service: Service, element: ET.Element) -> str:
    kind, values = _given(element)
    service.made += 1
    record = full_id(f"{_PREFIXES.get(kind, 'a00')}5g00000{service.made:05d}")
    service.tables.setdefault(kind, {})[record] = {**values, "Id": record}
    return record


def _update(service: Service, element: ET.Element) -> str:
    kind, values = _given(element)
    row = service.tables.get(kind, {}).get(values.get("Id", ""))
    if row is None:
        return "<result><errors><message>no such record</message></errors><success>false</success></result>"
    for one in element:
        if _local(one) == "fieldsToNull":
            row[one.text or ""] = ""
    values.pop("fieldsToNull", None)
    row.update(values)
    return _saved(row["Id"])


def _query(service: Service, space: str, text: str) -> tuple[int, str]:
    source = Source(lambda name: list(service.tables.get(name, {}).values()), lambda *_: None, lambda *_: [])
    try:
        rows = select(text, source)
    except Unsupported as unread:
        return 500, _fault("MALFORMED_QUERY", f"unexpected token in: {text} ({unread})")
    found = "".join(f"<records>{_row('Contact', row)}</records>" for row in rows)
    return 200, _whole(space, "query", f"<result><done>true</done>{found}<size>{len(rows)}</size></result>")


def _row(kind: str, row: Record) -> str:
    fields = "".join(f"<sf:{name}>{escape(str(value))}</sf:{name}>" for name, value in row.items())
    return f"<sf:type>{kind}</sf:type>{fields}"


def _saved(record: str) -> str:
    return f"<result><id>{record}</id><success>true</success></result>"


def _whole(space: str, call: str, inside: str) -> str:
    return (
        f'<soapenv:Envelope xmlns:soapenv="{SOAP}" xmlns="{space}" xmlns:sf="urn:sobject.partner.soap.sforce.com">'
        f"<soapenv:Body><{call}Response>{inside}</{call}Response></soapenv:Body></soapenv:Envelope>"
    )


def _fault(code: str, message: str) -> str:
    return (
        f'<soapenv:Envelope xmlns:soapenv="{SOAP}"><soapenv:Body><soapenv:Fault><faultcode>{code}</faultcode>'
        f"<faultstring>{code}: {escape(message)}</faultstring></soapenv:Fault></soapenv:Body></soapenv:Envelope>"
    )
