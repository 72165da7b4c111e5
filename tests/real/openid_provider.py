"""npm's oidc-provider as a company's identity provider: fetched by a lock file, run by node in its own process."""

import contextlib
import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from gateway.demo import children
from gateway.demo.browser import Browser
from gateway.settings import cache_folder

SOURCE = Path(__file__).with_name("openid")
FILES = ("package.json", "package-lock.json", "provider.mjs")
NPM_SECONDS = 300


def fetched() -> Path:
    """The folder with the program and its packages, fetched by the lock file where they are not; none of their scripts
    is run.
    """
    pinned = hashlib.sha256(b"".join((SOURCE / name).read_bytes() for name in FILES)).hexdigest()[:16]
    folder = cache_folder() / f"openid-provider-{pinned}"
    if (folder / "ready").exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    for name in FILES:
        shutil.copy(SOURCE / name, draft)
    npm = shutil.which("npm")
    assert npm is not None, "npm is not installed"
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=draft, capture_output=True, text=True, timeout=NPM_SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (draft / "ready").touch()
    try:
        draft.rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(draft)
    return folder


@dataclass(slots=True)
class RealProvider:
    """A running provider."""

    issuer: str
    child: children.Child
    opened: list[Browser] = field(default_factory=list)

    def browser(self) -> Browser:
        """A browser at the provider."""
        self.opened.append(Browser(self.issuer))
        return self.opened[-1]

    def vouch(self, browser: Browser, address: str, who: str) -> str:
        """Go where crmgate sent the browser to and sign in as somebody; the address it is sent back to."""
        answer = browser.get(address, follow=False)
        for _ in range(10):
            place = answer.header("location")
            if place and not place.startswith((self.issuer, "/")):
                return place
            if place:
                answer = browser.get(urljoin(answer.url, place), follow=False)
            else:
                answer = browser.submit(answer, {"login": who, "password": "any"}, follow=False)
        raise AssertionError(f"the provider does not send back: {answer.status}")

    def sign_out(self, browser: Browser) -> None:
        """End the session at the provider, which tells everybody who asked to be told."""
        page = browser.get("/session/end", follow=False).expect(200)
        browser.submit(page, {"logout": "yes"}, follow=False).expect(302, 303)


@contextlib.contextmanager
def openid_provider(port: int, clients: Sequence[dict[str, object]], authority: Path) -> Iterator[RealProvider]:
    """A provider on this port. clients: as OpenID registers them; authority: whose certificates it believes."""
    folder = fetched()
    issuer = f"http://127.0.0.1:{port}"
    told = {"issuer": issuer, "port": port, "clients": list(clients), "authority": str(authority)}
    node = shutil.which("node")
    assert node is not None, "node is not installed"
    with tempfile.TemporaryDirectory(prefix="openid-provider-") as logs:
        log = Path(logs) / "provider.log"
        child = children.start("oidc-provider", [node, folder / "provider.mjs", json.dumps(told)], log, folder)
        try:
            children.wait_for_http(child, port, "/.well-known/openid-configuration")
            provider = RealProvider(issuer, child)
            yield provider
            for browser in provider.opened:
                browser.close()
        finally:
            child.stop()


def path_of(address: str) -> str:
    """Path and query of an address."""
    parts = urlsplit(address)
    return f"{parts.path}?{parts.query}"
