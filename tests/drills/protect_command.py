"""Runs `crmgate protect` as a process of its own, to its end or to a SIGKILL."""

import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.settings import Settings


@dataclass(slots=True, kw_only=True)
class Commands:
    """The commands of one installation. said: everything they printed."""

    settings: Settings
    said: list[str] = field(default_factory=list)

    def command(self, *words: str) -> list[str]:
        """`crmgate protect …` of this installation."""
        return [sys.executable, "-m", "gateway.cli", "protect", *words, "--config", str(self.settings.file)]

    def protect(self, *words: str, code: int | None = 0) -> str:
        """Run a command to its end; what it printed. Raises AssertionError for another exit code."""
        done = subprocess.run(self.command(*words), capture_output=True, text=True, check=False, timeout=3600)
        self.said.append(done.stdout + done.stderr)
        if code is not None:
            assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def start_s(self) -> float:
        """Seconds a command needs before it works on a record, here and now; kills are aimed behind that."""
        began = time.monotonic()
        self.protect("status", code=None)
        return time.monotonic() - began

    def killed(self, after_s: float, *words: str) -> bool:
        """Start a command and end it with SIGKILL after some time; False when it was done before."""
        with tempfile.TemporaryFile() as sink:
            child = subprocess.Popen(self.command(*words), stdout=sink, stderr=sink)
            try:
                child.wait(after_s)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
                child.wait()
        return child.returncode == -signal.SIGKILL

    def killed_at(self, at_work: Callable[[], bool], after_s: float, *words: str) -> bool:
        """Start a command and end it with SIGKILL some time after it is at work; False when it was done before."""
        with tempfile.TemporaryFile() as sink:
            child = subprocess.Popen(self.command(*words), stdout=sink, stderr=sink)
            while child.poll() is None and not at_work():
                time.sleep(0.1)
            try:
                child.wait(after_s)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
                child.wait()
        return child.returncode == -signal.SIGKILL


@dataclass(frozen=True, slots=True)
class Done:
    """A command that was killed on its way and finished in the end. seconds: of work, all attempts together."""

    told: str
    seconds: float


class Kills:
    """Ends commands so often at random points of their work. most_s: seconds of work until a kill at most."""

    def __init__(self, commands: Commands, rng: random.Random, kills: int, most_s: float) -> None:
        self._commands = commands
        self._rng = rng
        self._kills = kills
        self._most_s = most_s
        self.hits = 0
        """Kills that met a running command."""

    def run(self, *words: str) -> Done:
        """Kill it so often, then let it finish."""
        start = self._commands.start_s() if self._kills else 0.0
        began = time.monotonic()
        for _ in range(self._kills):
            self.hits += self._commands.killed(start + self._rng.uniform(0.0, self._most_s), *words)
        told = self._commands.protect(*words, code=None)
        return Done(told, time.monotonic() - began)
