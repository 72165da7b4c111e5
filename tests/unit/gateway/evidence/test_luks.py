"""From a server's mount table down to its devices: /proc and /sys in the shapes that kernels write."""

from pathlib import Path

import pytest

from gateway.database import EmbeddedPostgres
from gateway.evidence.luks import LuksProbe, mount_of, parse_mounts
from gateway.evidence.probe import Evidence, Verdict

LUKS = "CRYPT-LUKS2-6c2f1a0b4d5e4f60a1b2c3d4e5f60718-pgdata\n"
LVM = "LVM-abcdef\n"


class Machine:
    """A small machine in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.mounts: list[str] = []

    def device(self, number: str, name: str, uuid: str = "", below: tuple[str, ...] = ()) -> None:
        place = self.root / "sys/devices" / name
        place.mkdir(parents=True)
        (place / "dev").write_text(f"{number}\n")
        if uuid:
            (place / "dm").mkdir()
            (place / "dm/uuid").write_text(uuid)
            (place / "dm/name").write_text(f"{name}\n")
        for one in below:
            (place / "slaves").mkdir(exist_ok=True)
            (place / "slaves" / one).symlink_to(self.root / "sys/devices" / one)
        links = self.root / "sys/dev/block"
        links.mkdir(parents=True, exist_ok=True)
        (links / number).symlink_to(place)

    def mount(self, number: str, point: str, kind: str = "ext4", source: str = "/dev/x") -> None:
        self.mounts.append(f"36 35 {number} / {point} rw,relatime shared:1 - {kind} {source} rw\n")

    def look(self, *folders: str, comm: str = "postgres") -> Evidence:
        place = self.root / "proc/77"
        place.mkdir(parents=True)
        (place / "comm").write_text(f"{comm}\n")
        (place / "mountinfo").write_text("".join(self.mounts))
        return LuksProbe("database", "", self.root).of_process(77, folders, "18.1")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.device("8:1", "sda1")
    made.device("8:2", "sda2")
    made.mount("8:1", "/")
    return made


def test_a_luks_device_below_the_data_directory_is_proof(machine: Machine) -> None:
    machine.device("254:0", "pgdata", LUKS, ("sda2",))
    machine.mount("254:0", "/var/lib/postgresql")
    found = machine.look("/var/lib/postgresql/18/main")
    assert found.verdict is Verdict.PROVED
    assert found.facts[1] == ("/var/lib/postgresql/18/main", "/var/lib/postgresql: pgdata is LUKS2")


def test_logical_volumes_are_followed_to_every_device_below(machine: Machine) -> None:
    machine.device("254:0", "crypt0", LUKS, ("sda1",))
    machine.device("254:1", "vg-data", LVM, ("crypt0",))
    machine.mount("254:1", "/data")
    assert machine.look("/data").verdict is Verdict.PROVED


def test_one_plain_device_below_refutes(machine: Machine) -> None:
    machine.device("254:0", "crypt0", LUKS, ("sda1",))
    machine.device("254:1", "vg-data", LVM, ("crypt0", "sda2"))
    machine.mount("254:1", "/data")
    found = machine.look("/data")
    assert found.verdict is Verdict.REFUTED
    assert "sda2 is not encrypted" in found.facts[1][1]


def test_a_tablespace_elsewhere_counts_too(machine: Machine) -> None:
    machine.device("254:0", "pgdata", LUKS, ("sda2",))
    machine.mount("254:0", "/data")
    assert machine.look("/data", "/srv/space").verdict is Verdict.REFUTED


def test_mounts_over_mounts_and_odd_names_are_told_apart() -> None:
    lines = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 8:2 / /my\\040data rw - ext4 /dev/b rw\nbroken\n"
    lines += "3 1 8:3 / /my\\040data rw - ext4 /dev/c rw\n"
    mounts = parse_mounts(lines)
    found = mount_of(mounts, "/my data/base")
    assert found is not None
    assert found.device == "8:3"
    assert mount_of(mounts, "/my database") == mounts[0]


def test_what_is_no_block_device_here_is_not_visible(machine: Machine) -> None:
    machine.mount("0:45", "/net", "nfs4", "server:/export")
    assert machine.look("/net/pg").verdict is Verdict.NOT_VISIBLE


def test_a_file_as_a_device_is_not_visible(machine: Machine) -> None:
    machine.device("7:0", "loop0")
    machine.mount("7:0", "/loop")
    assert machine.look("/loop").verdict is Verdict.NOT_VISIBLE


def test_a_process_of_another_name_is_another_machines(machine: Machine) -> None:
    assert machine.look("/", comm="bash").verdict is Verdict.NOT_VISIBLE
    assert LuksProbe("x", "", machine.root).of_process(78, ["/"], "18").verdict is Verdict.NOT_VISIBLE


def test_a_server_that_does_not_answer_is_not_visible(tmp_path: Path) -> None:
    (found,) = LuksProbe("x", f"host={tmp_path} dbname=none").look()
    assert found.verdict is Verdict.NOT_VISIBLE


def test_a_real_server_on_this_machine_is_followed_down(postgres: EmbeddedPostgres) -> None:
    """Which verdict depends on the disk below; that its files were found on this machine does not."""
    (found,) = LuksProbe("database of crmgate", postgres.admin_dsn).look()
    assert found.facts[0][0] == "server", found
    assert Path(found.facts[1][0]).is_absolute()
