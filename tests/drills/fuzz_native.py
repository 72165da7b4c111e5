"""One target under atheris: libFuzzer, guided by the coverage of our code and of libraries in Python.

    python -m tests.drills.fuzz_native TARGET SECONDS FOLDER

FOLDER: holds what it begins with, and gets what it finds new. Ends with another code than 0 when something was found.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gateway", "policies", "privacy", "python_multipart", "openpyxl"]):
    from tests.drills.fuzz_seeds import seeds
    from tests.drills.fuzz_targets import run


def main(name: str, seconds: int, folder: Path) -> None:
    """Fuzzes until the time is over or something is found; raises what the target raised."""
    for number, body in enumerate(seeds()[name]):
        (folder / f"seed{number}").write_bytes(body)

    def one(data: bytes) -> None:
        run(name, data)

    limits = ["-timeout=30", "-rss_limit_mb=2048", "-max_len=16384", f"-artifact_prefix={folder}/found-"]
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-print_final_stats=1", *limits, str(folder)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
