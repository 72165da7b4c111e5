"""A process that works on counting jobs until it is told to stop or killed; started by the tests of durable work.

Each slice writes the numbers of its step into the table `tick` and tells its parent before and after. At the point it
is told to halt at, it stays until it is killed, however long its parent takes.
"""

import asyncio
import sys
from collections.abc import Sequence

from gateway.database import Pool, open_pool
from gateway.durable import Durable
from gateway.job import Job, Slice

STEP = 5


class Counting:
    """Writes the numbers 1 to `upto`, a few each slice."""

    def __init__(self, pool: Pool, halt: str, times: int) -> None:
        self._pool = pool
        self._halt = halt
        self._times = times

    async def _tell(self, point: str, number: int) -> None:
        print(point, number, flush=True)
        self._times -= point == self._halt
        if self._times == 0:
            await asyncio.Event().wait()

    async def slice(self, job: Job) -> Slice:
        """The next numbers; writing one twice would be seen in `seen`."""
        start = int(str(job.cursor or 0))
        upto = int(str(job.arguments["upto"]))
        end = min(start + STEP, upto)
        await self._tell("begin", start)
        async with self._pool.of("t") as connection:
            await connection.cursor().executemany(
                "INSERT INTO tick (n) VALUES (%s) ON CONFLICT (n) DO UPDATE SET seen = tick.seen + 1",
                [(n,) for n in range(start + 1, end + 1)],
            )
        await self._tell("end", end)
        return Slice(end, end, upto, finished=end == upto)


async def main(arguments: Sequence[str]) -> None:
    """dsn, job id, how far to count, where to halt and when: begin the job (or find it begun) and work at it."""
    dsn, job, upto, halt, times = arguments
    pool = await open_pool(dsn, max_size=4)
    durable = Durable(dsn, pool, poll_s=0.05, sweep_s=0.2)
    durable.register("count", Counting(pool, halt, int(times)).slice)
    await durable.start()
    await durable.begin(job, "count", "t", {"upto": int(upto)}, total=int(upto))
    ended = await durable.wait(job, every_s=0.05)
    print("ended", ended.state, flush=True)
    await durable.close()
    await pool.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
