"""The process that looks into files: it answers one line for each line, and has little of the machine to use up.

Started by `inspecting.py`, with the limits as its argument.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from brats_lightning.web.files.contents import look
from brats_lightning.web.files.unpacking import unpack
from brats_lightning.web.limits import FULL, Limits, Refused

MEMORY_BYTES = 4 << 30
"""Of addresses, most of which the libraries take and never touch."""
CPU_SECONDS = 60


def main() -> None:
    """Answer until nobody asks any more."""
    limits = Limits(**json.loads(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the server, which ends this process
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # libraries print, and what they print may name a patient
        os.dup2(nowhere, stream)
    _take_little(limits)
    for line in sys.stdin:
        spent = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        resource.setrlimit(resource.RLIMIT_CPU, (int(spent) + CPU_SECONDS, resource.RLIM_INFINITY))
        answers.write(json.dumps(_answer(json.loads(line), limits)) + "\n")
        answers.flush()


def _take_little(limits: Limits) -> None:
    def at_most(what: int, most: int) -> None:
        hard = resource.getrlimit(what)[1]
        resource.setrlimit(what, (most, most) if hard == resource.RLIM_INFINITY else (min(most, hard), hard))

    at_most(resource.RLIMIT_AS, MEMORY_BYTES)
    at_most(resource.RLIMIT_FSIZE, limits.unpacked_bytes)
    at_most(resource.RLIMIT_CORE, 0)  # a dump would hold the patient's voxels
    at_most(resource.RLIMIT_NOFILE, 64)


def _answer(request: Mapping[str, str], limits: Limits) -> dict[str, object]:
    path = Path(request["path"])
    try:
        if "into" in request:
            return {"found": asdict(unpack(path, into=Path(request["into"]), room=int(request["room"]), limits=limits))}
        return {"found": asdict(look(path, limits=limits))}
    except Refused as refused:
        return {"status": refused.status, "sentence": str(refused)}
    except MemoryError:
        sentence = "it takes more memory than any image of a patient: send another file"
    except OSError as error:
        if error.errno in FULL:
            return {"errno": error.errno}
        sentence = "it could not be read: send it again"
    except Exception:  # noqa: BLE001 - whatever a library makes of a broken file, it is the file's fault
        sentence = "it could not be read: it is damaged, or nothing that is known here"
    return {"status": 422, "sentence": sentence}


if __name__ == "__main__":
    main()
