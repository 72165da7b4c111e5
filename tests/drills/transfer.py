"""The transfer drill: downloads and uploads of 1 GB through a real `crmgate serve`, and what memory they took.

`python -m tests.drills.transfer` prints a table and exits with 1 when the gateway grew by more than `GROWTH_MB`. The
end-to-end tests use the same transfers with 200 MB, and with 10 MB for tables, which are rendered on their way.
"""

import contextlib
import http.client
import os
import secrets
import ssl
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from gateway.demo.browser import Browser
from tests.drills.stack import Stack, installed
from tests.e2e.wire import connect, head, read
from tests.real.plain import BLOCK, Plain, crc_of, plain

SIZE = 1_000_000_000
GROWTH_MB = 64.0
WATCH_S = 0.05
PEOPLE, PEOPLE_AT_ONCE = 2000, 250
Transfer = Callable[[Stack, Plain, Browser, int], None]


class TransferFault(Exception):  # noqa: N818 - names what is at fault
    """What arrived is not what was sent; the text says how much of it."""

    permanent = True


@dataclass(slots=True)
class Memory:
    """Resident memory of one process over a time, in MB."""

    before_mb: float
    peak_mb: float

    @property
    def growth_mb(self) -> float:
        """How much more than before, at the highest."""
        return self.peak_mb - self.before_mb


@contextlib.contextmanager
def memory_of(pid: int) -> Iterator[Memory]:
    """Watch a process until the context ends."""
    memory = Memory(resident_mb(pid), resident_mb(pid))
    done = threading.Event()

    def watch() -> None:
        while not done.wait(WATCH_S):
            memory.peak_mb = max(memory.peak_mb, resident_mb(pid))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield memory
    finally:
        done.set()
        watching.join()


def resident_mb(pid: int) -> float:
    """VmRSS of a process (proc(5))."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def processor_s(pid: int) -> float:
    """Processor time of a process so far, which does not depend on what else runs (proc(5))."""
    given = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(given[11]) + int(given[12])) / os.sysconf("SC_CLK_TCK")


def download(stack: Stack, upstream: Plain, browser: Browser, size: int) -> None:
    """A binary file of the CRM."""
    with connect(stack) as connection:
        connection.sendall(head(stack, f"GET /download/{size}", browser=browser))
        seen, crc, begun = 0, 0, b""
        while b"\r\n\r\n" not in begun:
            begun += connection.recv(65536)
        top, _, chunk = begun.partition(b"\r\n\r\n")
        if not top.startswith(b"HTTP/1.1 200 ") or b"content-length: %d" % size not in top.lower():
            raise TransferFault(f"the download answers {top[:300]!r}")
        while True:
            seen += len(chunk)
            crc = zlib.crc32(chunk, crc)
            if seen >= size or not (chunk := connection.recv(262144)):
                break
    if (seen, crc) != (size, crc_of(size)):
        raise TransferFault(f"{seen} of {size} bytes arrived, or others")


def upload(stack: Stack, upstream: Plain, browser: Browser, size: int) -> None:
    """A binary body as it is: it streams past."""
    with connect(stack) as connection:
        fields = [f"Content-Length: {size}", "Content-Type: application/octet-stream", f"Origin: {stack.home.crm_url}"]
        connection.sendall(head(stack, "PUT /upload", *fields, browser=browser))
        _send_blocks(connection, size)
        _require_stored(connection)
    seen = upstream.last("/upload")
    if (seen.size, seen.crc) != (size, crc_of(size)):
        raise TransferFault(f"{seen.size} of {size} bytes reached the CRM, or others")


def upload_form(stack: Stack, upstream: Plain, browser: Browser, size: int) -> None:
    """A file in a form, as browsers upload it: the form is read, the file goes through the sealed spool."""
    mark = secrets.token_hex(12)
    start = f'--{mark}\r\nContent-Disposition: form-data; name="title"\r\n\r\nScan\r\n--{mark}\r\n'
    start += 'Content-Disposition: form-data; name="file"; filename="scan.bin"\r\n'
    start += "Content-Type: application/octet-stream\r\n\r\n"
    top, end = start.encode(), f"\r\n--{mark}--\r\n".encode()
    with connect(stack) as connection:
        fields = [
            f"Content-Length: {len(top) + size + len(end)}",
            f"Content-Type: multipart/form-data; boundary={mark}",
            f"Origin: {stack.home.crm_url}",
        ]
        connection.sendall(head(stack, "POST /upload", *fields, browser=browser) + top)
        _send_blocks(connection, size)
        connection.sendall(end)
        _require_stored(connection)
    seen = upstream.last("/upload").size
    if not size < seen < size + 2000:
        raise TransferFault(f"{seen} bytes reached the CRM for a file of {size}")


def give_table(stack: Stack, upstream: Plain, browser: Browser, count: int = PEOPLE) -> None:
    """Let the CRM hold a table of people that came through the gateway, and so holds surrogates in every row."""
    header, upstream.table = b"number,phone,mail,note\n", b""
    for first in range(0, count, PEOPLE_AT_ONCE):
        people = range(first, min(count, first + PEOPLE_AT_ONCE))
        lines = [f'{one},1380013{one:04},person{one}@example.com,"at six, or ""later"""\n' for one in people]
        table = header + "".join(lines).encode()
        with connect(stack) as connection:
            fields = [f"Content-Length: {len(table)}", "Content-Type: text/csv", f"Origin: {stack.home.crm_url}"]
            connection.sendall(head(stack, "PUT /upload", *fields, browser=browser) + table)
            _require_stored(connection)
        stored = upstream.last("/upload").body
        if b"1380013" in stored or b"@example.com" in stored or stored.count(b"\n") != len(people) + 1:
            raise TransferFault("the table reached the CRM in clear")
        upstream.table += stored if not upstream.table else stored.removeprefix(header)


def export(stack: Stack, upstream: Plain, browser: Browser, size: int) -> None:
    """A table of the CRM, rendered on its way: the rows of a short one, which is rendered whole, again and again."""
    short = b"".join(pieces(stack, browser, "/table/1"))
    header, end, rows = short.partition(b"\n")
    times = size // len(upstream.table) + 1
    crc, wanted, seen = 0, zlib.crc32(header + end), 0
    for _ in range(times):
        wanted = zlib.crc32(rows, wanted)
    for piece in pieces(stack, browser, f"/table/{times}"):
        seen += len(piece)
        crc = zlib.crc32(piece, crc)
    if (seen, crc) != (len(header + end) + times * len(rows), wanted):
        raise TransferFault(f"{seen} bytes of the table arrived, or others")


def pieces(stack: Stack, browser: Browser, target: str) -> Iterator[bytes]:
    """The body of an answer as it comes; raises http.client.IncompleteRead where it breaks off."""
    with connect(stack) as connection:
        connection.sendall(head(stack, f"GET {target}", browser=browser))
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        if answer.status != 200:
            raise TransferFault(f"{target} answers {answer.status} {answer.read()[:300]!r}")
        while piece := answer.read(262_144):
            yield piece


def _send_blocks(connection: ssl.SSLSocket, size: int) -> None:
    while size > 0:
        connection.sendall(memoryview(BLOCK)[: min(size, len(BLOCK))])
        size -= len(BLOCK)


def _require_stored(connection: ssl.SSLSocket) -> None:
    answer = read(connection, "POST")
    if answer.status != 201:
        raise TransferFault(f"the upload answers {answer.status} {answer.body[:300]!r}")


def drill(size: int, console: Console, *, tables_only: bool = False) -> int:
    """Every transfer once; the number of transfers that took too much memory."""
    transfers: tuple[tuple[str, str, Transfer], ...] = (
        ("download", "manager", download),
        ("upload, plain body", "manager", upload),
        ("upload, file in a form", "manager", upload_form),
        ("export as CSV, everything clear", "manager", export),
        ("export as CSV, masked", "sales", export),
    )
    if tables_only:
        transfers = tuple(one for one in transfers if one[2] is export)
    table = Table(title=f"{size / 1e6:.0f} MB through crmgate", box=box.SIMPLE_HEAD, title_justify="left")
    for name in ("transfer", "seconds", "MB/s", "MB a CPU second", "memory before", "growth at the most"):
        table.add_column(name, justify="left" if name == "transfer" else "right")
    too_much = 0
    with plain() as upstream, installed(upstream) as stack:  # type: ignore[arg-type]
        browsers = {who: stack.signed_in(who) for who in ("manager", "sales")}
        give_table(stack, upstream, browsers["manager"])
        for name, who, transfer in transfers:
            pid = stack.gateway.process.pid
            began, spent = time.monotonic(), processor_s(pid)
            with memory_of(pid) as memory:
                transfer(stack, upstream, browsers[who], size)
            took, spent = time.monotonic() - began, processor_s(pid) - spent
            too_much += memory.growth_mb >= GROWTH_MB
            cells = (
                f"{took:.1f}",
                f"{size / 1e6 / took:.2f}",
                f"{size / 1e6 / spent:.2f}",
                f"{memory.before_mb:.0f} MB",
                f"{memory.growth_mb:.1f} MB",
            )
            table.add_row(name, *cells)
        for browser in browsers.values():
            browser.close()
    console.print(table)
    console.print(f"more than {GROWTH_MB:.0f} MB: {too_much} of {len(transfers)}")
    return too_much


if __name__ == "__main__":
    # Tables take minutes where files take seconds: `… 100000000 tables` looks at these alone.
    size = int(sys.argv[1]) if len(sys.argv) > 1 else SIZE
    sys.exit(1 if drill(size, Console(width=110), tables_only=sys.argv[2:] == ["tables"]) else 0)
