"""When, on what and from which code and data a run was trained: `facts.json`, one record a start of the run."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from brats_lightning.errors import BratsError
from brats_lightning.whole_files import whole_file

FACTS = "facts.json"
_LARGEST = 1e15


@dataclass(frozen=True)
class Start:
    """One start of a run, from its beginning or from where it had come to.

    Args:
        started: When, with the offset from UTC, as ISO 8601 has it.
        from_step: Steps that had been done before.
        steps: That have been done in all, as far as is known.
        seconds: That were trained, as far as is known.
        commit: Of the program, empty where it was not run from a checkout.
        data_sha256: Over the keys of all cases, empty where nothing was cached.
        split_sha256: Over the ids of the cases of each part.
        versions: Of packages.
        machine: Processor, GPUs, system; no names of people, machines and folders.
    """

    started: str
    from_step: int = 0
    steps: int = 0
    seconds: float = 0.0
    commit: str = ""
    data_sha256: str = ""
    split_sha256: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)

    @property
    def when(self) -> str:
        """Its time as people write it; as it stands where it is none.

        Example:
            >>> Start("2026-03-05T14:02:31+01:00").when
            '2026-03-05 14:02 (UTC+01:00)'
        """
        try:
            time = datetime.fromisoformat(self.started)
        except ValueError:
            return self.started
        return time.strftime("%Y-%m-%d %H:%M") + (f" ({time.tzname()})" if time.tzinfo else "")


def read_starts(run: Path) -> list[Start]:
    """Starts of a run, the first one first; none where nobody has noted them.

    Args:
        run: Its folder.

    Raises:
        BratsError: The file is damaged.
    """
    path = run / FACTS
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return [_start(record) for record in found]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise BratsError(
            f"{path} is no list of starts ({error}): expected what `brats fit` noted; remove it, or restore it"
        ) from error


def write_starts(run: Path, starts: Sequence[Start]) -> None:
    """Replace the list of a run's starts as a whole.

    Raises:
        OSError: It cannot be written.
    """
    with whole_file(run / FACTS) as half:
        half.write_text(json.dumps([asdict(start) for start in starts], indent=1) + "\n", encoding="utf-8")


def seconds_of(starts: Sequence[Start]) -> float:
    """That all starts took together; NaN where the first ones are not known."""
    return math.fsum(start.seconds for start in starts) if starts and starts[0].from_step == 0 else math.nan


def _start(record: Mapping[str, object]) -> Start:
    """A record, of which a later version of the program may know more, and an earlier one less."""

    def number(name: str) -> float:
        found = float(str(record.get(name) or 0))
        if not 0 <= found < _LARGEST:
            raise ValueError(f"{name} is {found:g}")
        return found

    def text(name: str) -> str:
        return str(record.get(name) or "")

    return Start(
        text("started"),
        from_step=int(number("from_step")),
        steps=int(number("steps")),
        seconds=number("seconds"),
        commit=text("commit"),
        data_sha256=text("data_sha256"),
        split_sha256=text("split_sha256"),
        versions=_table(record.get("versions")),
        machine=_table(record.get("machine")),
    )


def _table(value: object) -> dict[str, str]:
    return {str(name): str(text) for name, text in value.items()} if isinstance(value, Mapping) else {}
