"""A gateway that dies by SIGKILL with the CRM's answer to a write in its hands, before it learns anything from it.

`python tests/drills/lost_answer.py FLAG serve --config FILE`: `crmgate serve`, which kills itself at the first write
whose answer comes while the file FLAG is there.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file, whose modules are named like others

    from gateway import cli
    from gateway.binding import Binding

    flag = Path(sys.argv.pop(1))
    learn = Binding._write

    async def dying(self: Binding, *given: Any) -> None:
        """Instead of learning."""
        if flag.exists():
            os.kill(os.getpid(), signal.SIGKILL)
        await learn(self, *given)

    Binding._write = dying  # type: ignore[method-assign]
    cli.main()
