"""The id under which W&B knows a run: made once, and kept in the run's folder.

An id hashed from the folder's path would need no file, but a folder that was deleted and trained anew would go on with
the old one's history, and a folder that was moved would begin another.
"""

import os
import re
import secrets
from pathlib import Path

from brats_lightning.whole_files import whole_file

FILE = "wandb_id"
LONGEST = 64
"""W&B's limit of characters."""
_ID = re.compile(rf"[^\x00-\x20/\\#?%:\x7f-\x9f\ud800-\udfff]{{1,{LONGEST}}}")
"""What W&B takes; anything else is what is left of a damaged file."""


def identity(folder: Path) -> str:
    """The W&B id of the run in a folder, which is made at the first call.

    W&B's agents of a sweep, and users, give theirs in `WANDB_RUN_ID`; it is kept too. A copy of a folder is another
    run: were it to go on under the same id, the two would write into one history. The file says for which folder the
    id was made, and a copy is known by that one's still being there; of copies on another machine nothing is known.

    Args:
        folder: Of the run.
    """
    folder = folder.resolve()
    kept, home = _read(folder)
    chosen = os.environ.get("WANDB_RUN_ID") or (kept if kept and not _is_copy(folder, home, kept) else _new(folder))
    if (chosen, str(folder)) != (kept, home):
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / FILE) as half:
            half.write_text(f"{chosen}\n{folder}\n", encoding="utf-8", errors="surrogateescape")
    return chosen


def _new(folder: Path) -> str:
    tail = f"-{secrets.token_hex(4)}"
    words = re.sub(r"[^A-Za-z0-9._]+", "-", folder.name)[: LONGEST - len(tail)].strip("-.")
    return f"{words or 'run'}{tail}"


def _read(folder: Path) -> tuple[str, str]:
    """The id and the folder that it was made for, empty where there is none."""
    try:
        lines = (folder / FILE).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except FileNotFoundError:
        lines = []
    kept, home = [*lines, "", ""][:2]
    return (kept if _ID.fullmatch(kept.strip()) else "").strip(), home


def _is_copy(folder: Path, home: str, kept: str) -> bool:
    """Whether the folder that the id was made for is another one, and still uses it."""
    original = Path(home)
    try:
        if not home or not original.is_dir() or original.samefile(folder):
            return False
        return _read(original)[0] == kept
    except (OSError, ValueError):  # a damaged file names no folder
        return False
