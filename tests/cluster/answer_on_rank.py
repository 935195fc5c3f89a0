"""One process of several: answers a roll call and prints what came of it, as JSON.

Usage: answer_on_rank.py PATIENCE_SECONDS [FACTS [PREPARATION]]

FACTS (JSON) are told instead of this machine's own. PREPARATION is what rank 0 does: `run` gives a folder, `refuse`
cannot, `die` is killed in the middle of it.
"""

import json
import os
import signal
import sys
import time

from brats_lightning.cluster.allocation import own_task
from brats_lightning.cluster.facts import Facts
from brats_lightning.cluster.roll_call import Dismissed, roll_call
from brats_lightning.errors import ConfigError


def main(patience: str, told: str = "{}", preparation: str = "run") -> None:
    """Take part."""

    def prepare() -> dict[str, str]:
        if preparation == "refuse":
            raise ConfigError("the folder is taken")
        if preparation == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return {"run": f"claimed by {os.getpid()}"}

    task = own_task()
    facts = Facts(**{"rank": task.rank, "machine": f"n{task.rank}", **json.loads(told)})
    began = time.monotonic()
    result: dict[str, object] = {"rank": task.rank, "process": os.getpid()}
    try:
        result["values"] = roll_call(task, facts, prepare=prepare, patience_seconds=float(patience))
    except ConfigError as error:
        result["said"] = str(error)
    except Dismissed:
        result["dismissed"] = True
    print(json.dumps({**result, "seconds": time.monotonic() - began}))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
