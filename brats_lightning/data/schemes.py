"""Whose label values a case's segmentation has, where file names alone do not tell."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np

from brats_lightning.data.naming import CaseFiles
from brats_lightning.nifti import UnreadableVolumeError, read_grid, read_labels

_GRID_2024_GLI = (182, 218, 182)


class LabelSchemes:
    """The edition of each case of a folder.

    Args:
        told: Edition of all cases as the user says, None to recognise them.
        groups: All cases of the folder: some editions are told apart only by looking at many.
    """

    def __init__(self, told: str | None, groups: Iterable[CaseFiles]) -> None:
        self.told = told
        self.groups = list(groups)

    def of(self, group: CaseFiles) -> str:
        """Edition of one case.

        Raises:
            UnreadableVolumeError: Its segmentation had to be looked at and cannot be read.
            LookupError: Names and values leave more than one meaning.
        """
        if self.told:
            return self.told
        if group.family == "GLI":
            return self._glioma(group)
        if group.family == "PED":
            return self._pediatric_edition
        return group.family

    @staticmethod
    def _glioma(group: CaseFiles) -> str:
        """Names are the same in 2023 and 2024, grids are not; 1, 2 and 3 mean the same in both."""
        path = next(iter(group.found.values()))[0]
        try:
            return "2024-GLI" if read_grid(path).shape == _GRID_2024_GLI else "2023"
        except UnreadableVolumeError as error:
            raise UnreadableVolumeError(f"{path.name}: {error}") from error

    @property
    def _pediatric_edition(self) -> str:
        if not self._has_a_four:
            raise LookupError(
                "BraTS-PED of 2023 and of 2024 give the labels 1, 2 and 3 different meanings, "
                "and no 4 tells which this is"
            )
        return "2024-PED"

    @cached_property
    def _has_a_four(self) -> bool:
        """2023 has the labels 1 NCR, 2 ED, 3 ET; 2024 has 1 ET, 2 NETC, 3 CC, 4 ED: only a 4 tells them apart."""
        labelled = [group.found["seg"][0] for group in self.groups if group.family == "PED" and group.found.get("seg")]
        return any(_has(path, 4) for path in labelled)


def _has(path: Path, value: int) -> bool:
    try:
        return bool(np.any(read_labels(path).array == value))
    except UnreadableVolumeError:
        return False  # reading the case will say why
