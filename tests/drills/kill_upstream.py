"""The CRM of the kill drill: a threaded HTTP server that keeps records and gives each by its number.

`python -m tests.drills.kill_upstream PORT`. POST /records answers 201 with a number; GET /records/NUMBER the record.
"""

import itertools
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_records: dict[int, dict[str, Any]] = {}
_numbers = itertools.count(1)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Make a record."""
        number = next(_numbers)
        given = self.rfile.read(int(self.headers.get("content-length", "0")))
        _records[number] = {"id": number, **json.loads(given)}
        self._answer(201, {"id": number})

    def do_GET(self) -> None:
        """Give one."""
        number = self.path.rpartition("/")[2]
        known = _records.get(int(number)) if number.isdigit() else None
        self._answer(200 if known else 404, known or {})

    def log_message(self, *args: Any) -> None:
        """Nothing."""

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
