"""Whose label values a case's segmentation has, where file names alone do not tell."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from brats_lightning.data.naming import CaseFiles
from brats_lightning.nifti import UnreadableVolumeError, read_grid, read_labels

_GRID_2024_GLI = (182, 218, 182)


class LabelSchemes:
    """The edition of each case of a folder.

    A pediatric case without labels fits two editions and is taken for one of the later: it has nothing that could be
    decoded wrongly. Where labels that were predicted for it go back to the earlier one's values, `told` must say so.

    Args:
        told: Edition of all cases as the user says, None to recognise them.
        groups: All cases of the folder: some editions are told apart only by looking at many.
    """

    def __init__(self, told: str | None, groups: Iterable[CaseFiles]) -> None:
        self.told = told
        self.groups = list(groups)
        self._cases_in = Counter(group.folder for group in self.groups)
        self._has_a_four: dict[Path, bool] = {}

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
            return self._pediatric(group)
        return group.family

    @staticmethod
    def _glioma(group: CaseFiles) -> str:
        """Names are the same in 2023 and 2024, grids are not; 1, 2 and 3 mean the same in both."""
        path = next(iter(group.found.values()))[0]
        try:
            return "2024-GLI" if read_grid(path).shape == _GRID_2024_GLI else "2023"
        except UnreadableVolumeError as error:
            raise UnreadableVolumeError(f"{path.name}: {error}") from error

    def _pediatric(self, group: CaseFiles) -> str:
        """2023 has the labels 1 NCR, 2 ED, 3 ET; 2024 has 1 ET, 2 NETC, 3 CC, 4 ED: only a 4 tells them apart.

        A root may hold both years, so that a 4 speaks for the cases beside it alone.
        """
        if not group.found.get("seg"):
            return "2024-PED"
        beside = self._folder_of_cases(group)
        if beside not in self._has_a_four:
            labelled = [
                other.found["seg"][0]
                for other in self.groups
                if other.family == "PED" and other.found.get("seg") and self._folder_of_cases(other) == beside
            ]
            self._has_a_four[beside] = any(_has(path, 4) for path in labelled)
        if not self._has_a_four[beside]:
            raise LookupError(
                "BraTS-PED of 2023 and of 2024 give the labels 1, 2 and 3 different meanings, "
                f"and no 4 in {beside.name} tells which this is"
            )
        return "2024-PED"

    def _folder_of_cases(self, group: CaseFiles) -> Path:
        """The folder of the case folders, or the one in which the files of several cases lie."""
        return group.folder if self._cases_in[group.folder] > 1 else group.folder.parent


def _has(path: Path, value: int) -> bool:
    try:
        return bool(np.any(read_labels(path).array == value))
    except UnreadableVolumeError:
        return False  # reading the case will say why
