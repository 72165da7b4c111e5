"""Old workbooks read as the gateway reads them, without the start of an interpreter for each: for fuzzing.

`python -m tests.drills.fuzz_sheets` is a process with one thread that has loaded the reader. For each file it forks a
child with limits like those of `gateway.body.xls_reader`, so what ends that child ends nothing else, as in the gateway.
"""

import io
import os
import struct
import subprocess
import sys
from functools import lru_cache
from typing import BinaryIO

from gateway.body.xls_reader import Sheets, limit, sheets_told, tell

_ASKED, _ANSWERED = struct.Struct(">QQ"), struct.Struct(">qQ")
_GIVEN_UP = 99
_MEMORY_BYTES = 256 * 1024 * 1024  # less than in the gateway: filling a gigabyte before the end takes seconds
_worker: subprocess.Popen[bytes] | None = None


@lru_cache(maxsize=1)  # one example is opened several times
def _told(body: bytes, most_cells: int) -> tuple[int, bytes]:
    global _worker
    if _worker is None or _worker.poll() is not None:
        command = [sys.executable, "-m", "tests.drills.fuzz_sheets"]
        _worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    worker = _worker
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        worker.stdin.write(_ASKED.pack(most_cells, len(body)) + body)
        worker.stdin.flush()
        code, size = _ANSWERED.unpack(worker.stdout.read(_ANSWERED.size))
        return code, worker.stdout.read(size)
    except BaseException:
        worker.kill()  # its next answer would be taken for another one
        worker.wait()
        _worker = None
        raise


def read_sheets(body: bytes, most_cells: int) -> Sheets:
    """(name, rows) of every sheet; raises SheetsUnread."""
    return sheets_told(*_told(body, most_cells))


def serve(asked: BinaryIO, answers: BinaryIO) -> None:
    """Answers until nobody asks any more."""
    while len(head := asked.read(_ASKED.size)) == _ASKED.size:
        most_cells, size = _ASKED.unpack(head)
        code, told = _forked(asked.read(size), most_cells)
        answers.write(_ANSWERED.pack(code, len(told)) + told)
        answers.flush()


def _forked(body: bytes, most_cells: int) -> tuple[int, bytes]:
    """What a child told, and how it ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = _GIVEN_UP
        try:
            os.close(reading)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # a native reader tells there why it aborts
            limit(_MEMORY_BYTES)
            out = io.BytesIO()
            code = tell(body, most_cells, out)
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(out.getvalue())
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), told


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
