"""What the server takes at most, and how it says no."""

import errno
from dataclasses import dataclass, fields

from brats_lightning.errors import BratsError, ConfigError

MB = 1_000_000
FULL = (errno.ENOSPC, errno.EDQUOT)
"""Numbers of the errors that a full disk gives."""


class Refused(BratsError):  # noqa: N818 - it is how the code reads
    """A request that is not met; the API answers with its status and sentence.

    Args:
        status: Of HTTP: 400 409 413 415 422 429 507 …
        sentence: What was expected, what was found, what to do.
    """

    def __init__(self, status: int, sentence: str) -> None:
        self.status = status
        super().__init__(sentence)

    def __reduce__(self) -> tuple[type["Refused"], tuple[int, str]]:
        return Refused, (self.status, str(self))


@dataclass(frozen=True)
class Limits:
    """What the server takes at most. A megabyte is a million bytes.

    Args:
        file_mb: Of one file, as it is sent.
        case_mb: Of all files of a case, as they are kept.
        unpacked_mb: Of what one file, or all files of one zip, become when decompressed.
        voxels_millions: Of one image.
        files: Of one case.
        cases: Kept at once.
        keep_minutes: That a case is kept after it was made.
        requests_per_minute: Of one client.
        queue: Jobs that wait.
        upload_seconds: That sending one file may take.
        idle_seconds: That a client may send nothing in mid-file.
        job_minutes: That one job may take.
    """

    file_mb: float = 1024
    case_mb: float = 2048
    unpacked_mb: float = 4096
    voxels_millions: float = 128
    files: int = 32
    cases: int = 100
    keep_minutes: float = 720
    requests_per_minute: int = 1200
    queue: int = 50
    upload_seconds: float = 900
    idle_seconds: float = 30
    job_minutes: float = 60

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < float("inf"):
                raise ConfigError(f"limits.{field.name} is {value}; give a number above 0 that is not infinite")

    @property
    def file_bytes(self) -> int:
        """Bytes of one file."""
        return int(self.file_mb * MB)

    @property
    def case_bytes(self) -> int:
        """Bytes of all files of a case."""
        return int(self.case_mb * MB)

    @property
    def unpacked_bytes(self) -> int:
        """Bytes of a file, or of all files of a zip, when decompressed."""
        return int(self.unpacked_mb * MB)

    @property
    def voxels(self) -> int:
        """Voxels of one image."""
        return int(self.voxels_millions * 1_000_000)


def disk_refusal(error: OSError) -> Refused:
    """What to answer where a file cannot be written."""
    if error.errno in FULL:
        return Refused(507, "the server's disk is full: erase cases that are not needed, or ask who runs the server")
    return Refused(500, f"the server cannot write its files ({error.strerror}): ask who runs it")
