"""A process that works on counting jobs until it is told to stop or killed; started by the tests of durable work.

Each slice writes the numbers of its step into the table `tick` and tells its parent before and after, so that the
parent can kill it at any point.
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

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def slice(self, job: Job) -> Slice:
        """The next numbers; writing one twice would be seen in `seen`."""
        start = int(str(job.cursor or 0))
        upto = int(str(job.arguments["upto"]))
        end = min(start + STEP, upto)
        print("begin", start, flush=True)
        async with self._pool.of("t") as connection:
            await connection.cursor().executemany(
                "INSERT INTO tick (n) VALUES (%s) ON CONFLICT (n) DO UPDATE SET seen = tick.seen + 1",
                [(n,) for n in range(start + 1, end + 1)],
            )
        print("end", end, flush=True)
        await asyncio.sleep(0.01)
        return Slice(end, end, upto, finished=end == upto)


async def main(arguments: Sequence[str]) -> None:
    """dsn, job id, how far to count: begin the job (or find it begun) and work until it is done."""
    dsn, job, upto = arguments
    pool = await open_pool(dsn, max_size=4)
    durable = Durable(dsn, pool, poll_s=0.05, sweep_s=0.2)
    durable.register("count", Counting(pool).slice)
    await durable.start()
    await durable.begin(job, "count", "t", {"upto": int(upto)}, total=int(upto))
    ended = await durable.wait(job, every_s=0.05)
    print("ended", ended.state, flush=True)
    await durable.close()
    await pool.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
