"""nginx and mitmproxy as contenders: each starts in a folder of its own, in front of the same upstream."""

import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tests.bench.process import BenchFault, free_port, start, stop, tree, wait_for_port

# The newest mitmproxy needs Python 3.12; this is the newest one for 3.11.
MITMPROXY = "12.3.1" if sys.version_info >= (3, 12) else "11.0.2"
CACHE = Path.home() / ".cache" / "crmgate" / "bench"


class Contender(Protocol):
    """One proxy under test."""

    name: str
    headers: Mapping[str, str]

    def start(self, folder: Path, upstream: int, core: int) -> None:
        """Start in front of the upstream's port. Raises: BenchFault."""
        ...

    def url(self, path: str) -> str:
        """Where wrk goes."""
        ...

    def parts(self) -> Mapping[str, Sequence[int]]:
        """Process ids by part: "proxy", and "postgres" where there is one."""
        ...

    def check(self, path: str, body: bytes) -> None:
        """Whether an answer is what this contender promises. Raises: BenchFault."""
        ...

    def stop(self) -> None:
        """End it."""
        ...


class _Simple:
    """A proxy that is one process tree on one port."""

    name = ""
    headers: Mapping[str, str] = {}

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def parts(self) -> Mapping[str, Sequence[int]]:
        assert self._process is not None
        return {"proxy": tree(self._process.pid)}

    def stop(self) -> None:
        if self._process is not None:
            stop(self._process)


class Nginx(_Simple):
    """`proxy_pass` with keep-alive to the upstream, one worker, no access log, buffers that hold a whole answer."""

    name = "nginx"

    def start(self, folder: Path, upstream: int, core: int) -> None:
        (folder / "nginx.conf").write_text(f"""
        daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
        events {{ worker_connections 1024; }}
        http {{
          access_log off; keepalive_requests 100000000;
          proxy_buffers 32 8k;  # the list fits into memory, as one would set it
          client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
          uwsgi_temp_path {folder}; scgi_temp_path {folder};
          upstream crm {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}
          server {{
            listen 127.0.0.1:{self.port};
            location / {{ proxy_pass http://crm; proxy_http_version 1.1; proxy_set_header Connection ""; }}
          }}
        }}
        """)
        command = ["/usr/sbin/nginx", "-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf"]
        self._process = start(command, core, folder / "log", folder=folder)
        wait_for_port(self._process, self.port, folder / "log")

    def check(self, path: str, body: bytes) -> None:
        """It passes bytes on."""


class Mitmproxy(_Simple):
    """Reverse mode with an addon that masks one field; no audit, no session, no policy."""

    name = "mitmproxy"

    def start(self, folder: Path, upstream: int, core: int) -> None:
        program = install_mitmproxy()
        command = [
            program,
            "--mode", f"reverse:http://127.0.0.1:{upstream}",
            "--listen-host", "127.0.0.1",
            "--listen-port", str(self.port),
            "--quiet",
            "--set", f"confdir={folder}",
            "-s", Path(__file__).with_name("mask_addon.py"),
        ]  # fmt: skip
        self._process = start(command, core, folder / "log", folder=folder)
        wait_for_port(self._process, self.port, folder / "log")

    def check(self, path: str, body: bytes) -> None:
        if b"****" not in body:
            raise BenchFault("mitmproxy did not mask")


def install_mitmproxy() -> Path:
    """The pinned mitmproxy in an environment of its own, made on first use; gives the path of `mitmdump`."""
    folder = CACHE / f"mitmproxy-{MITMPROXY}"
    program = folder / "bin" / "mitmdump"
    done = folder / "installed"
    if not done.exists():
        print(f"installing mitmproxy {MITMPROXY} into {folder} …", file=sys.stderr, flush=True)
        venv.create(folder, with_pip=True, clear=True)
        command = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", f"mitmproxy=={MITMPROXY}"]
        ended = subprocess.run(command, capture_output=True, text=True)
        if ended.returncode:
            raise BenchFault(f"mitmproxy cannot be installed:\n{ended.stderr[-2000:]}")
        done.touch()
    return program
