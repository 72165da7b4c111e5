"""Importing has no effects, the floors hold, SQL and the environment stay in the modules they belong to."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("gateway", "policies", "kms", "audit", "privacy", "rules")
# Alembic runs these with a connection in place; they are scripts and are not imported by anything of ours.
SCRIPTS = {"gateway.migrations.env"}

IMPORT_WITH_HANDS_TIED = """
import importlib, io, os, sys

def refuse(event, arguments):
    if event.startswith("socket.") and event not in {"socket.__new__", "socket.gethostname"}:
        raise RuntimeError(f"import causes {event}")
    if event in {"subprocess.Popen", "os.system", "os.mkdir", "os.remove"}:
        raise RuntimeError(f"import causes {event}")
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        raise RuntimeError(f"import writes {arguments[0]}")

sys.dont_write_bytecode = True
sys.addaudithook(refuse)
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def modules() -> list[str]:
    names = []
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if name not in SCRIPTS and "versions" not in parts and parts[-1] != "__main__":
                names.append(name)
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_module_has_no_effects(package: str) -> None:
    names = [name for name in modules() if name.partition(".")[0] == package]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_WITH_HANDS_TIED, *names], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_imports_go_down_only() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_the_environment_is_read_in_one_module_only() -> None:
    readers = []
    for name in modules():
        file = ROOT.joinpath(*name.split("."))
        source = (file.with_suffix(".py") if file.with_suffix(".py").exists() else file / "__init__.py").read_text()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "environb"}:
                readers.append(name)
    assert set(readers) <= {"gateway.settings"}


def test_sql_stands_in_store_modules_only() -> None:
    # The last one shows what a CRM keeps in a database of its own.
    allowed = {
        "gateway.database",
        "gateway.migrations.runner",
        "gateway.migrations.wall",
        "gateway.check",
        "gateway.demo.peek",
    }
    found = []
    for name in modules():
        leaf = name.rpartition(".")[2]
        if leaf == "store" or leaf.endswith("_store") or name in allowed:
            continue
        file = ROOT.joinpath(*name.split(".")).with_suffix(".py")
        if not file.exists():
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and looks_like_sql(node.value):
                found.append(f"{name}:{node.lineno}")
    assert found == []


def looks_like_sql(text: str) -> bool:
    words = text.split()
    return len(words) > 2 and (
        words[0] in {"SELECT", "UPDATE", "DELETE"} or tuple(words[:2]) in {("INSERT", "INTO"), ("DELETE", "FROM")}
    )
