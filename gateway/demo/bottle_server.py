"""Runs BottleCRM and its database as one program: `python -m gateway.demo.bottle_server FOLDER -- COMMAND…`.

The database starts first and stops last. A signal to end is passed on to the CRM; when the CRM ends, so does all.
"""

import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from gateway.demo.bottle import cluster


def main() -> int:
    """Run until told to end; the exit code is the CRM's."""
    folder, command = Path(sys.argv[1]), sys.argv[3:]
    running: list[subprocess.Popen[bytes]] = []
    ending = False

    def end(_number: int, _frame: FrameType | None) -> None:
        nonlocal ending
        ending = True
        for process in running:
            process.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    with cluster(folder):
        if ending:
            return 0
        running.append(subprocess.Popen(command, cwd=folder))  # noqa: S603 - the command of our own caller
        if ending:
            running[0].terminate()
        return running[0].wait()


if __name__ == "__main__":
    sys.exit(main())
