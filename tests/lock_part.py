"""Prints some packages of a lock file with their hashes, so that one of them can be installed alone.

Usage: python tests/lock_part.py requirements-dev.lock NAME...
"""

import sys
from pathlib import Path


def part(text: str, names: list[str]) -> str:
    """The blocks of these packages; raises KeyError when the lock file has none of a name."""
    blocks: dict[str, str] = {}
    name = ""
    for line in text.splitlines(keepends=True):
        if line[:1].isalnum():
            name = line.partition("==")[0].strip()
        if name:
            blocks[name] = blocks.get(name, "") + line
    return "".join(blocks[wanted] for wanted in names)


if __name__ == "__main__":
    sys.stdout.write(part(Path(sys.argv[1]).read_text(), sys.argv[2:]))
