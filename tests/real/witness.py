"""A witness of its own process, written from c2sp.org/tlog-witness, tlog-cosignature, signed-note and RFC 6962 alone.

python -m tests.real.witness PORT SEED_HEX LOG_VKEY
"""

import base64
import hashlib
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.demo import children

ROOT = Path(__file__).parents[2]
NAME = "witness.example/w1"


def vkey(seed: bytes) -> str:
    """The verifier key of a witness with this seed."""
    public = b"\x04" + Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return f"{NAME}+{key_id(public).hex()}+{base64.b64encode(public).decode()}"


def key_id(public: bytes) -> bytes:
    """First four bytes of the hash over name, newline, type and key."""
    return hashlib.sha256(NAME.encode() + b"\n" + public).digest()[:4]


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def grows(old: int, old_root: bytes, new: int, new_root: bytes, proof: list[bytes]) -> bool:
    """RFC 6962 2.1.2 read backwards: both roots are rebuilt by the recursion that makes the proof."""
    if old == 0:
        return not proof
    if old == new:
        return not proof and old_root == new_root
    steps = list(proof)

    def rebuild(size: int, width: int, whole: bool) -> tuple[bytes, bytes]:
        """Root over the first `size` of `width` leaves, and over all of them."""
        if size == width:
            top = old_root if whole else steps.pop()
            return top, top
        half = 1
        while half * 2 < width:
            half *= 2
        if size <= half:
            right = steps.pop()
            first, left = rebuild(size, half, whole)
            return first, _node(left, right)
        left = steps.pop()
        first, right = rebuild(size - half, width - half, False)
        return _node(left, first), _node(left, right)

    try:
        return rebuild(old, new, True) == (old_root, new_root) and not steps
    except IndexError:
        return False


class Witness(BaseHTTPRequestHandler):
    """POST add-checkpoint, one log."""

    seed = b""
    origin = ""
    log_key = b""
    log_id = b""
    size = 0
    root = hashlib.sha256(b"").digest()

    def do_POST(self) -> None:
        """Answer one call."""
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        head, _, note = body.partition("\n\n")
        first, *lines = head.split("\n")
        text, _, signatures = note.rpartition("\n\n")
        text += "\n"
        origin, size_line, root_line = text.split("\n")[:3]
        old, size, root = int(first.removeprefix("old ")), int(size_line), base64.b64decode(root_line)
        if self.path != "/add-checkpoint" or origin != self.origin:
            return self.say(404)
        if not any(self.signed(line, text) for line in signatures.splitlines()):
            return self.say(403)
        if old > size:
            return self.say(400)
        kind = type(self)
        if old != kind.size:
            return self.say(409, f"{kind.size}\n", "text/x.tlog.size")
        if old == size and root != kind.root:
            return self.say(409)
        if not grows(old, kind.root, size, root, [base64.b64decode(line) for line in lines]):
            return self.say(422)
        kind.size, kind.root = size, root
        at = int(time.time())
        key = Ed25519PrivateKey.from_private_bytes(self.seed)
        signature = key.sign(f"cosignature/v1\ntime {at}\n{text}".encode())
        public = b"\x04" + key.public_key().public_bytes_raw()
        mark = base64.b64encode(key_id(public) + at.to_bytes(8, "big") + signature).decode()
        return self.say(200, f"— {NAME} {mark}\n")

    def signed(self, line: str, text: str) -> bool:
        """Whether this line is the log's signature."""
        _, name, mark = line.split(" ")
        blob = base64.b64decode(mark)
        if name != self.origin or blob[:4] != self.log_id:
            return False
        try:
            Ed25519PublicKey.from_public_bytes(self.log_key).verify(blob[4:], text.encode())
        except InvalidSignature:
            return False
        return True

    def say(self, status: int, body: str = "", kind: str = "text/plain") -> None:
        """The answer."""
        raw = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def witness(seed: bytes, log_vkey: str) -> Iterator[str]:
    """A running one; its submission prefix."""
    port = children.free_port()
    with tempfile.TemporaryDirectory() as place:
        words = [sys.executable, "-m", "tests.real.witness", str(port), seed.hex(), log_vkey]
        child = children.start("witness", words, Path(place) / "log", ROOT)
        try:
            children.wait_for_port(child, port)
            yield f"http://127.0.0.1:{port}"
        finally:
            child.stop()


def main() -> None:
    """Serve until ended."""
    port, seed, log_vkey = sys.argv[1:]
    origin, log_id, key = log_vkey.split("+", 2)
    Witness.seed, Witness.origin, Witness.log_id = bytes.fromhex(seed), origin, bytes.fromhex(log_id)
    Witness.log_key = base64.b64decode(key)[1:]
    HTTPServer(("127.0.0.1", int(port)), Witness).serve_forever()


if __name__ == "__main__":
    main()
