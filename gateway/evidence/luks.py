"""Whether the files of a PostgreSQL lie on LUKS: from its own mount table down to the block devices.

Seen only on the same machine: the process that serves our connection has to be a PostgreSQL here, and its own mount
table counts, so that a container is not taken for its host. Everything else is "not visible", never proof.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.evidence.probe import Evidence, Verdict
from gateway.evidence.store import ServerSilent, postgres_place

CLAIM = "the files of PostgreSQL lie on an encrypted block device (LUKS)"
_LUKS = re.compile(r"CRYPT-(LUKS[12])-")
_OCTAL = re.compile(r"\\([0-7]{3})")
_DEEPEST = 8  # layers of devices on devices


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of a mount table: device numbers "major:minor", where, type and source."""

    device: str
    point: str
    kind: str
    source: str


@dataclass(frozen=True, slots=True)
class LuksProbe:
    """One PostgreSQL. root: where /proc and /sys are, another folder in tests only."""

    about: str
    dsn: str
    root: Path = Path("/")

    def look(self) -> Sequence[Evidence]:
        """Ask the server where its files are, then follow the devices below."""
        try:
            with postgres_place(self.dsn) as place:
                return [self.of_process(place.pid, place.folders, place.version)]
        except ServerSilent as fault:
            return [self._unseen(fault.problem)]

    def of_process(self, pid: int, folders: Sequence[str], version: str) -> Evidence:
        """What lies below the folders of a server process with this number."""
        place = self.root / "proc" / str(pid)
        try:
            if not (place / "comm").read_text().startswith("postgres"):
                return self._unseen("the server runs on another machine, or in a container of its own")
            mounts = parse_mounts((place / "mountinfo").read_text())
        except OSError:
            return self._unseen("the server runs on another machine, or in a container of its own")
        facts, verdicts = [("server", f"PostgreSQL {version}")], []
        for folder in folders:
            mount = mount_of(mounts, folder)
            verdict, fact = self._below(mount) if mount is not None else (Verdict.NOT_VISIBLE, "no mount found")
            facts.append((folder, f"{mount.point if mount else '?'}: {fact}"))
            verdicts.append(verdict)
        worst = next(
            (one for one in (Verdict.REFUTED, Verdict.NOT_VISIBLE) if one in verdicts),
            Verdict.PROVED,
        )
        return Evidence(self.about, CLAIM, worst, tuple(facts))

    def _below(self, mount: Mount) -> tuple[Verdict, str]:
        device = mount.device
        if device.startswith("0:"):  # btrfs and others number their mounts themselves; the source names the device
            found = self._number_of(mount.source)
            if found is None:
                return Verdict.NOT_VISIBLE, f"{mount.kind}, no block device of this machine"
            device = found
        return self._device(device, 0)

    def _device(self, device: str, depth: int) -> tuple[Verdict, str]:
        """Whether a device is LUKS or lies on devices that all are."""
        place = self.root / "sys" / "dev" / "block" / device
        if depth > _DEEPEST or not place.exists():
            return Verdict.NOT_VISIBLE, f"device {device} is not in /sys"
        try:
            luks = _LUKS.match((place / "dm" / "uuid").read_text())
        except OSError:
            luks = None
        name = self._name(place)
        if luks is not None:
            return Verdict.PROVED, f"{name} is {luks[1]}"
        try:
            below = sorted((place / "slaves").iterdir())
        except OSError:
            below = []
        if name.startswith("loop"):
            return Verdict.NOT_VISIBLE, f"{name} is a file of another file system"
        if not below:
            return Verdict.REFUTED, f"{name} is not encrypted"
        try:
            found = [self._device((one / "dev").read_text().strip(), depth + 1) for one in below]
        except OSError:
            return Verdict.NOT_VISIBLE, f"the devices below {name} are not in /sys"
        verdict = next((one for one in (Verdict.REFUTED, Verdict.NOT_VISIBLE) if one in {v for v, _ in found}), None)
        fact = f"{name} on " + ", ".join(fact for _, fact in found)
        return verdict or Verdict.PROVED, fact

    def _name(self, place: Path) -> str:
        try:
            return (place / "dm" / "name").read_text().strip()
        except OSError:
            return place.resolve().name

    def _number_of(self, source: str) -> str | None:
        try:
            status = (self.root / source.lstrip("/")).stat() if source.startswith("/dev/") else None
        except OSError:
            return None
        return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}" if status is not None else None

    def _unseen(self, reason: str) -> Evidence:
        return Evidence(self.about, CLAIM, Verdict.NOT_VISIBLE, (("reason", reason),))


def parse_mounts(text: str) -> list[Mount]:
    """Lines of /proc/PID/mountinfo (proc(5)); what is malformed is left out."""
    found = []
    for line in text.splitlines():
        head, dash, tail = line.partition(" - ")
        fields, rest = head.split(" "), tail.split(" ")
        if dash and len(fields) >= 6 and len(rest) >= 2:
            found.append(Mount(fields[2], _unescaped(fields[4]), rest[0], _unescaped(rest[1])))
    return found


def mount_of(mounts: Sequence[Mount], folder: str) -> Mount | None:
    """The mount a folder lies in: the longest point that contains it, of several there the last."""
    best: Mount | None = None
    for mount in mounts:
        inside = folder == mount.point or folder.startswith(mount.point.rstrip("/") + "/")
        if inside and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def _unescaped(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)
