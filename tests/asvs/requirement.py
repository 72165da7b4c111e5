"""The requirements of OWASP ASVS 5.0 that crmgate answers for, each with the tests that show it.

`requirements.toml` holds one table per requirement in the order of the standard. `topic` is in our words; the text that
binds is the standard's (https://github.com/OWASP/ASVS, version 5.0.0). A requirement is shown by tests alone; what is
not met says so in `open`, what cannot apply because crmgate has no such thing in `absent`.
"""

import ast
import tomllib
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("requirements.toml")
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Requirement:
    """One requirement: its id, level (1 to 3), topic, node ids of tests, and why it is open or absent, if it is."""

    id: str
    level: int
    topic: str
    tests: tuple[str, ...]
    open: str = ""
    absent: str = ""


def read(file: Path = FILE) -> tuple[Requirement, ...]:
    """All requirements, in the order of the file; raises KeyError where one lacks level or topic."""
    rows = tomllib.loads(file.read_text("utf-8"))
    return tuple(
        Requirement(
            name,
            row["level"],
            row["topic"],
            tuple(row.get("tests", ())),
            row.get("open", ""),
            row.get("absent", ""),
        )
        for name, row in rows.items()
    )


def missing_tests(requirements: tuple[Requirement, ...], root: Path = ROOT) -> list[str]:
    """Node ids that name no test function of this tree, by reading the files and without importing them."""
    functions: dict[str, set[str]] = {}
    lost = []
    for node in sorted({test for requirement in requirements for test in requirement.tests}):
        path, _, name = node.partition("::")
        if path not in functions:
            functions[path] = _functions(root / path)
        if name not in functions[path]:
            lost.append(node)
    return lost


def _functions(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    found = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}::{one.name}"
                for one in node.body
                if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return found
