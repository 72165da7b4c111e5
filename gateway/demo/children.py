"""Processes that the demo and the tests start: ready when they answer, ended when we end, nobody else's touched.

Every child leads a process group of its own, so that Ctrl-C reaches us first and we end the children in order.
"""

import contextlib
import errno
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

STOP_SECONDS = 30.0
CHOSEN_PORTS = range(15_000, 32_768)  # below those that Linux gives to connections and to whoever asks for any
PORT_TRIES = 100


class ChildFault(Exception):  # noqa: N818 - names who failed
    """A program we started ended or never answered; the text has the last lines of its log."""

    permanent = False


@dataclass(frozen=True, slots=True)
class Child:
    """One running program and where it writes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def stop(self) -> None:
        """Ask it to end, insist after half a minute, and wait for it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def last_words(self, lines: int = 12) -> str:
        """End of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def _dies_with_us() -> list[str]:
    """A prefix that has the kernel end the child when we are killed outright and cannot do it ourselves."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv is not None else []


def start(name: str, command: Sequence[str | Path], log: Path, folder: Path) -> Child:
    """Start a program in `folder` with its output in `log`."""
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - programs we installed ourselves
            [*_dies_with_us(), *(str(part) for part in command)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Child(name, process, log)


def wait_for_http(child: Child, port: int, path: str, seconds: float = 120.0) -> None:
    """Wait until `child` answers HTTP on 127.0.0.1; raises ChildFault when it ends or stays silent."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not child.alive():
            raise ChildFault(f"{child.name} ended while starting:\n{child.last_words()}")
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path)
            connection.getresponse().read()
        except (OSError, HTTPException):
            time.sleep(0.2)
            continue
        finally:
            connection.close()
        return
    raise ChildFault(f"{child.name} did not answer within {seconds:.0f} seconds:\n{child.last_words()}")


def wait_for_port(child: Child, port: int, seconds: float = 60.0) -> None:
    """Wait until something of `child` listens on 127.0.0.1; raises ChildFault when it ends or stays silent."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not child.alive():
            raise ChildFault(f"{child.name} ended while starting:\n{child.last_words()}")
        if not port_is_free(port):
            return
        time.sleep(0.1)
    raise ChildFault(f"{child.name} did not listen within {seconds:.0f} seconds:\n{child.last_words()}")


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether nothing listens there."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) != 0


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses at this moment, and that no connection is given by chance meanwhile.

    Raises: OSError when none is free.
    """
    for port in random.SystemRandom().sample(CHOSEN_PORTS, PORT_TRIES):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError(errno.EADDRINUSE, "no free port")
