"""A time-stamping authority in a process of its own: `openssl ts -reply` behind HTTP.

python -m tests.real.tsa PORT FOLDER
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from gateway.demo import children

ROOT = Path(__file__).parents[2]
CONFIG = """
[tsa]
default_tsa = one
[one]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
ess_cert_id_alg = sha256
ess_cert_id_chain = no
"""
EXTENSIONS = """
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
"""


def openssl(*words: str) -> None:
    """Run it, or fail with what it said."""
    done = subprocess.run(["openssl", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def make_authority(folder: Path) -> None:
    """A CA, and a certificate for stamping under it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "serial").write_text("01\n")
    (folder / "tsa.cnf").write_text(CONFIG.format(folder=folder))
    (folder / "ext.cnf").write_text(EXTENSIONS)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=crmgate test TSA CA",
            "-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.pem")  # fmt: skip
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=crmgate test TSA",
            "-keyout", f"{folder}/tsa.key", "-out", f"{folder}/tsa.csr")  # fmt: skip
    openssl("x509", "-req", "-in", f"{folder}/tsa.csr", "-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", f"{folder}/ext.cnf", "-out", f"{folder}/tsa.pem")  # fmt: skip


class Authority(BaseHTTPRequestHandler):
    """POST of a query."""

    folder = Path()

    def do_POST(self) -> None:
        """Answer one."""
        query = self.rfile.read(int(self.headers["content-length"]))
        assert self.headers["content-type"] == "application/timestamp-query"
        with tempfile.TemporaryDirectory() as place:
            asked, reply = Path(place) / "q.tsq", Path(place) / "r.tsr"
            asked.write_bytes(query)
            openssl("ts", "-reply", "-config", f"{self.folder}/tsa.cnf", "-queryfile", str(asked), "-out", str(reply))
            raw = reply.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "application/timestamp-reply")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def authority(folder: Path) -> Iterator[str]:
    """A running one; its address. The CA is FOLDER/ca.pem."""
    make_authority(folder)
    port = children.free_port()
    words = [sys.executable, "-m", "tests.real.tsa", str(port), str(folder)]
    child = children.start("time-stamping authority", words, folder / "log", ROOT)
    try:
        children.wait_for_port(child, port)
        yield f"http://127.0.0.1:{port}/stamp"
    finally:
        child.stop()


def main() -> None:
    """Serve until ended."""
    Authority.folder = Path(sys.argv[2])
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Authority).serve_forever()


if __name__ == "__main__":
    main()
