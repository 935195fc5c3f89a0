import pytest
from hypothesis import given
from hypothesis import strategies as some

from brats_lightning.data.naming import MODALITY_OF_NAME, recognise
from brats_lightning.labels import EDITIONS, MODALITIES, Edition
from brats_lightning.web.files.kinds import LONGEST_NAME, common_name, kind_of, shown_name
from brats_lightning.web.records import Kind

BY_CLINICS: dict[Kind, str] = {
    "t1n": "T1|t1w|T1_pre|T1 MPRAGE|t1_mprage_sag_p2_iso|AX T1|AXT1|sub-01_T1w|T1 native|T1_N|T1_SE_ax"
    "|T1 without contrast|Case_C_T1|T1_brain|T1_preop|3D_T1_BRAVO",
    "t1c": "T1post|t1_gd|T1+C|T1 C+|T1c|T1ce|t1gd|T1Gd|T1_Gad|CT1|AX_T1_POST|t1_mprage_sag_p2_iso_POST|T1wCE|T1_ce"
    "|sub-01_ce-gadolinium_T1w|MRHR_T1_AX_POST_GAD_SE_13_se2d1r_t1c|T1 MPRAGE + Gd|T1_mit_KM|T1 with contrast"
    "|T1c_subtrMeanDivStd|UPENN-GBM-00001_11_T1GD",
    "t2w": "T2|t2w|ax_t2_tse|T2 TSE ax|sub-01_T2w|MRHR_T2_AX_SE_2_tse2d1_11_t2|T2_fs",
    "t2f": "FLAIR|t2_flair|T2FLAIR|ax_flair_3d|T2f|t2_tirm_tra_dark-fluid|Flair_subtrMeanDivStd|FLAIR post Gd|3DFLAIR",
    "seg": "seg|GT|P7-seg|tumor_segmentation|ct1_seg_mask|tumour mask|lesion-mask|ground_truth"
    "|UPENN-GBM-1_segm|t1c_seg",
}
UNSURE = (
    "image|slice 7|1|BRATS_001|T1_FLAIR|T1_to_T2|flair_reg_t1|T1-C|T1 - C|GD_T1|post_T1|T1 post op|T1 post treatment"
    "|mask|brainmask|T1_brain_mask|brain_segmentation|T1_aseg|t2star|T2*|ADC|T1_map|T1_dseg|subtraction T1|pred_seg"
    "|automated_approx_segm|T1 pre post Gd|t1ce_pre|T10|best1|sagittal|c|post|contrast|T2_SWI|perf_t1|CT"
    "|reference"
)


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for kind, names in BY_CLINICS.items() for name in names.split("|")]
)
def test_names_of_clinics(name: str, kind: Kind) -> None:
    for variant in (name, name.upper() if "wCE" not in name else name, f"patient 12/{name}"):
        assert kind_of(f"{variant}.nii.gz") == kind


@pytest.mark.parametrize("name", UNSURE.split("|"))
def test_where_a_name_leaves_doubt_nothing_is_claimed(name: str) -> None:
    assert kind_of(f"{name}.nii.gz") is None


@pytest.mark.parametrize("edition", EDITIONS.values(), ids=str)
def test_names_of_every_edition(edition: Edition) -> None:
    for image, kind in zip(edition.modality_names, MODALITIES, strict=True):
        for case in ("Brats18_2013_21_1_", "BraTS20_Training_355_", "BraTS2021_00006_", "BraTS-GLI-00005-100-", ""):
            assert kind_of(f"{case}{image}.nii.gz") == kind
            assert kind_of(f"{case}seg.nii.gz") == "seg"


def test_the_folders_of_challenges_are_read_alike(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name in ("BraTS-GLI-00000-000-t2W.nii.gz", "BraTS2021_00006_flair.nii.gz", "brats20_training_001_T1CE.nii"):
        recognised = recognise(folder, name)
        assert recognised is not None
        assert kind_of(name) == MODALITY_OF_NAME[recognised[2].lower()]


@given(some.text())
def test_any_text_is_shown_as_one_short_line_without_folders(text: str) -> None:
    shown = shown_name(text)
    assert 0 < len(shown) <= LONGEST_NAME
    assert shown.isprintable()
    assert not set("/\\") & set(shown)
    assert shown_name(shown) == shown
    kind_of(text)


def test_turned_and_hidden_letters_are_not_shown() -> None:
    assert shown_name("gp\u202ezg.iin\u200b\n.nii") == "gp zg.iin .nii"
    assert shown_name("../..\\") == "file"


def test_a_case_is_called_by_what_its_files_share() -> None:
    assert common_name(["sub-01_ce-gadolinium_T1w.nii.gz", "sub-01_T2w.nii.gz", "sub-01_FLAIR.nii.gz"]) == "sub-01"
    assert common_name(["tumour slice 7.png"]) == "tumour slice 7"
    assert common_name(["Pat1_t1.nii", "Pat11_t1.nii"]) == "case"
    assert common_name([]) == "case"
