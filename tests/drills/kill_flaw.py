"""A gateway whose audit trail is not durable, to show that the kill drill finds it.

`python tests/drills/kill_flaw.py FLAW serve --config FILE`. early: an entry counts as written before its commit, which
comes half a second later; twice: every tenth entry is written again, as after a commit whose answer was lost.
"""

import asyncio
import itertools
import sys

if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file, whose modules are named like others

    from audit.entry import AuditEntry
    from audit.log import AuditLog, AuditUnavailable
    from gateway import cli

    flaw, submit, numbers = sys.argv.pop(1), AuditLog.submit, itertools.count(1)

    def later(self: AuditLog, entry: AuditEntry) -> None:
        """The commit, for which nobody waits."""
        try:
            submit(self, entry).add_done_callback(lambda done: done.exception())
        except AuditUnavailable:
            return

    def early(self: AuditLog, entry: AuditEntry) -> "asyncio.Future[int]":
        """Acknowledge, then write."""
        loop = asyncio.get_running_loop()
        loop.call_later(0.5, later, self, entry)
        done = loop.create_future()
        done.set_result(0)
        return done

    def twice(self: AuditLog, entry: AuditEntry) -> "asyncio.Future[int]":
        """Write some of them again."""
        done = submit(self, entry)
        if next(numbers) % 10 == 0:
            later(self, entry)
        return done

    AuditLog.submit = {"early": early, "twice": twice}[flaw]  # type: ignore[method-assign]
    cli.main()
