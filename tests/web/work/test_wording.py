import nibabel
import numpy as np
import pytest

from brats_lightning.nifti_header import quirks
from brats_lightning.web.work.tasks.wording import cure_on_a_page, wanted_on_a_page


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        (
            "its grid (3×3 mm: LPS) is not b.nii's; put them on one, or, to predict, do it with --align header",
            "its grid (3×3 mm: LPS) is not b.nii's; put them on one, or ask who runs the server (--align header)",
        ),
        (
            "out of memory on cuda:0: smaller --window, --precision bf16 or another --device",
            "out of memory on cuda:0: ask who runs the server (--precision bf16, --device)",
        ),
        ("not finite: look at the case with `brats check`", "not finite: ask who runs the server"),
        ("an empty image; download the file again or leave the case out", "an empty image; download the file again"),
        ("labels that are no whole numbers; save it with -v7.3 or as NIfTI", None),
        ("the file Doe--t1.nii is odd", None),
    ],
)
def test_a_page_names_no_commands(sentence: str, shown: str | None) -> None:
    assert cure_on_a_page(sentence) == (shown or sentence)


@pytest.mark.parametrize("slope", [0, 1, 2])
def test_oddities_of_a_header_that_change_nothing_are_not_told(slope: int) -> None:
    header = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)).header
    header["scl_slope"], header["qform_code"] = slope, 0
    found = quirks(header)
    assert found
    assert not any(wanted_on_a_page(f"Doe, Jane.nii: {quirk}") for quirk in found)
    assert wanted_on_a_page("labels stored as float32")
