"""What workers do for a case is what the commands do."""

import csv
import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from torch import nn

from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.errors import BratsError
from brats_lightning.evaluation.evaluate import evaluate
from brats_lightning.inference.predict import predict
from brats_lightning.labels import Modality
from brats_lightning.radiomics.radiomics import radiomics
from brats_lightning.reports.case.report import case_report
from brats_lightning.web.files.store import CaseStore
from brats_lightning.web.limits import Limits
from brats_lightning.web.records import CaseRecord, Work
from brats_lightning.web.work.messages import Setup, WorkOptions
from brats_lightning.web.work.outcomes import ended
from brats_lightning.web.work.tasks.doing import do
from brats_lightning.web.work.tasks.networks import open_networks
from tests.conftest import WriteCase
from tests.web.put_cases import put_file, put_folder, unet, write_network

ID = "BraTS2021_00001"
Told = list[tuple[str, float]]


@dataclass
class Bench:
    """A store, and a worker's work done in this process."""

    store: CaseStore
    network: Path
    options: WorkOptions
    told: Told

    def do(self, case: str, *works: Work) -> CaseRecord:
        networks = open_networks(Setup({"tiny": self.network}, "cpu", (), self.options))
        for work in works:
            tell: Callable[[str, float], None] = lambda stage, percent: self.told.append((stage, percent))  # noqa: E731
            record = self.store.get(case)
            outcome = do(work, self.store.folder(case), record, networks, tell=tell)
            self.store.update(case, **ended(record, work, outcome))
        return self.store.get(case)

    def result(self, case: str, name: str) -> Path:
        return self.store.results(case) / name


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    store = CaseStore(tmp_path / "served", Limits())
    yield Bench(store, write_network(tmp_path / "model.ckpt"), WorkOptions(), [])
    store.close()


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_mask_is_the_one_of_brats_predict(bench: Bench, write_case: WriteCase, tmp_path: Path) -> None:
    folder = write_case()
    predict(folder, checkpoint=(bench.network,), output=tmp_path / "predicted", uncertainty=True)

    record = bench.do(put_folder(bench.store, folder).id, "segment")

    for name, theirs in (("mask", ID), ("entropy", f"{ID}_entropy")):
        own = bench.result(record.id, f"{name}.nii.gz").read_bytes()
        assert own == (tmp_path / "predicted" / f"{theirs}.nii.gz").read_bytes()
    assert record.state == "done"
    stages = list(dict.fromkeys(stage for stage, _ in bench.told))
    assert stages == ["Reading and preprocessing", "Network", "Back to the patient’s grid", "Writing", "Measuring"]
    assert [percent for _, percent in bench.told] == sorted(percent for _, percent in bench.told)


def test_scores_and_radiomics_are_those_of_the_commands(bench: Bench, write_case: WriteCase, tmp_path: Path) -> None:
    folder = write_case()
    predict(folder, checkpoint=(bench.network,), output=tmp_path / "predicted")
    evaluate(predictions=tmp_path / "predicted", references=folder, output=tmp_path / "scored", workers=1)
    radiomics(folder, predictions=tmp_path / "predicted", output=tmp_path / "measured", workers=1, formats=("csv",))

    record = bench.do(put_folder(bench.store, folder).id, "segment", "compare", "radiomics")

    scores = rows_of(tmp_path / "scored" / "scores.csv")
    assert rows_of(bench.result(record.id, "scores.csv")) == scores
    assert {row["region"]: f"{record.scores[row['region']].dice}" for row in scores} == {
        row["region"]: row["dice"] for row in scores
    }
    assert rows_of(bench.result(record.id, "radiomics.csv")) == rows_of(tmp_path / "measured" / "radiomics.csv")


def test_volumes_for_the_page_have_the_values_and_places_of_the_files(bench: Bench, write_case: WriteCase) -> None:
    turned = np.array([[0, 0, -3, 40], [-2, 0, 0, 50], [0, 1, 0, -7], [0, 0, 0, 1]], float)
    folder = write_case(affine=turned)

    record = bench.do(put_folder(bench.store, folder).id, "segment", "compare")

    assert record.view is not None
    for kind, name in (("t1n", "t1"), ("t2f", "flair")):
        expected = nibabel.as_closest_canonical(nibabel.load(folder / f"{ID}_{name}.nii.gz"))
        shown = nibabel.load(bench.result(record.id, f"volumes/{kind}.nii.gz"))
        assert np.array_equal(shown.get_fdata(), expected.get_fdata())
        assert np.array_equal(shown.affine, np.diag([*record.view.spacing_mm, 1]))
        assert np.allclose(np.array(record.view.affine), expected.affine[:3])
        assert record.view.shape == expected.shape
    volumes = {
        name: np.asarray(nibabel.load(bench.result(record.id, f"volumes/{name}.nii.gz")).dataobj)
        for name in ("prediction", "reference", "difference")
    }
    reference = nibabel.as_closest_canonical(nibabel.load(folder / f"{ID}_seg.nii.gz")).get_fdata()
    assert np.array_equal(volumes["reference"], np.array([0, 1, 2, 0, 3])[reference.astype(int)])
    found, expected = volumes["prediction"] > 0, reference > 0
    assert np.array_equal(
        volumes["difference"], 1 * (found & expected) + 2 * (~found & expected) + 3 * (found & ~expected)
    )
    assert {tissue.value for tissue in record.view.tissues} == {1, 2, 3}
    assert volumes["prediction"][record.view.centre]


def test_nothing_that_somebody_wrote_into_a_header_is_in_a_result(bench: Bench, write_case: WriteCase) -> None:
    folder = write_case()
    for path in folder.iterdir():
        image = nibabel.load(path)
        image.header["descrip"] = image.header["aux_file"] = image.header["db_name"] = image.header["intent_name"] = (
            b"Jane Doe"
        )
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Jane Doe"))
        nibabel.save(image, path)
        assert b"Jane Doe" in gzip.decompress(path.read_bytes())

    record = bench.do(put_folder(bench.store, folder).id, "segment", "compare", "radiomics")

    results = [path for path in bench.store.results(record.id).rglob("*") if path.is_file()]
    assert len(results) > len(record.results) - 1
    for path in results:
        content = path.read_bytes()
        assert b"Jane" not in (gzip.decompress(content) if path.suffix == ".gz" else content), path.name


def test_what_is_wrong_with_a_file_is_told_with_the_name_that_the_user_knows(
    bench: Bench, write_case: WriteCase
) -> None:
    folder = write_case()
    flair = folder / f"{ID}_flair.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((20, 22, 18), np.int16), nibabel.load(flair).affine), flair)
    record = put_folder(bench.store, folder)

    with pytest.raises(BratsError, match=f"^{ID}_flair.nii.gz: an empty image") as caught:
        bench.do(record.id, "segment")

    assert "0file" not in str(caught.value)
    assert not (bench.store.folder(record.id) / "work").exists()


def test_an_image_that_no_network_needs_spoils_nothing(bench: Bench, write_case: WriteCase) -> None:
    bench.network = write_network(bench.network, network=unet(channels=1), preprocessing=only("t2f"))
    folder = write_case()
    elsewhere = nibabel.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4))
    nibabel.save(elsewhere, folder / f"{ID}_t1.nii.gz")

    record = bench.do(put_folder(bench.store, folder, needs=["t2f"]).id, "segment")

    assert record.view is not None
    assert record.view.images == ["t1c", "t2w", "t2f"]
    assert [note for note in record.notes if note.startswith(f"{ID}_t1.nii.gz: not shown")]


def test_a_picture_gets_a_mask_of_its_pixels_and_scores_in_pixels(bench: Bench, tmp_path: Path) -> None:
    def all_tumour(network: nn.Module) -> None:
        nn.init.constant_(
            next(value for name, value in reversed(list(network.named_parameters())) if "bias" in name), 9
        )

    bench.network = write_network(
        bench.network, network=unet(channels=1, labels=1), preprocessing=only("t1c"), change=all_tumour,
        regions=("WT",), outputs="tumour",
    )  # fmt: skip
    generator = np.random.default_rng(0)
    picture, reference = tmp_path / "slice 7.png", tmp_path / "truth.png"
    Image.fromarray(generator.integers(1, 255, (20, 24), np.uint8)).save(picture)
    drawn = np.zeros((20, 24), np.uint8)
    drawn[5:15, 4:16] = 255
    Image.fromarray(drawn).save(reference)
    predict(picture, checkpoint=(bench.network,), output=tmp_path / "predicted")
    record = bench.store.create(networks=["tiny"], needs=["t1c"])
    put_file(bench.store, record.id, picture, "t1c")
    put_file(bench.store, record.id, reference, "seg")

    record = bench.do(record.id, "segment", "compare")

    mask = bench.result(record.id, "mask.png")
    assert mask.read_bytes() == (tmp_path / "predicted" / "slice 7.png").read_bytes()
    predicted, expected = np.asarray(Image.open(mask)) > 0, drawn > 0
    both = np.count_nonzero(predicted & expected)
    assert predicted.any()
    assert record.scores["WT"].dice == pytest.approx(2 * both / (predicted.sum() + expected.sum()))
    assert record.sizes["reference"]["WT"] is not None
    assert record.sizes["reference"]["WT"].voxels == expected.sum()
    assert record.view is not None
    assert not record.view.placed
    assert record.view.shape == (24, 20, 1)
    assert list(record.sizes["prediction"]) == ["WT"]


@pytest.mark.slow
def test_the_report_is_the_one_of_brats_report(bench: Bench, write_case: WriteCase, tmp_path: Path) -> None:
    folder = write_case()
    predict(folder, checkpoint=(bench.network,), output=tmp_path / "predicted")
    reference = folder / f"{ID}_seg.nii.gz"
    theirs = case_report(
        folder, prediction=tmp_path / "predicted", reference=reference, output=tmp_path / "theirs.html"
    )

    record = bench.do(put_folder(bench.store, folder).id, "segment", "report")

    own = bench.result(record.id, "report.html").read_text()
    assert own == theirs.read_text().replace(f"{ID}.nii.gz", "mask.nii.gz")
    for name in ("planes", "montage", "difference", "surfaces"):
        assert (
            bench.result(record.id, f"pictures/{name}.png").read_bytes()
            == (tmp_path / "theirs" / f"{name}.png").read_bytes()
        )


def test_networks_that_cannot_be_opened_or_used_here_are_told_at_once(bench: Bench, tmp_path: Path) -> None:
    for checkpoints, device, what in (
        ({"none": tmp_path / "none.ckpt"}, "cpu", "^no checkpoint .*none.ckpt"),
        ({"tiny": bench.network}, "toaster", "device 'toaster' is none"),
    ):
        with pytest.raises(BratsError, match=what):
            open_networks(Setup(checkpoints, device, (), WorkOptions()))


def test_an_ensemble_is_the_one_of_brats_predict(bench: Bench, write_case: WriteCase, tmp_path: Path) -> None:
    folder = write_case()
    other = write_network(tmp_path / "other.ckpt", seed=1, preprocessing=Preprocessing(size=(12, 12, 12)))
    predict(folder, checkpoint=(bench.network, other), output=tmp_path / "predicted", flips=("x",))
    options = WorkOptions(flips=("x",), uncertainty=False)
    networks = open_networks(Setup({"tiny": bench.network, "other": other}, "cpu", (), options))
    case = put_folder(bench.store, folder).id
    record = bench.store.update(case, networks=["tiny", "other"])

    outcome = do("segment", bench.store.folder(case), record, networks, tell=lambda *_: None)

    expected = (tmp_path / "predicted" / f"{ID}.nii.gz").read_bytes()
    assert bench.result(case, "mask.nii.gz").read_bytes() == expected
    assert "entropy.nii.gz" not in outcome.results
    assert len({offered.speaks for offered in networks.offered}) == 1


def only(modality: Modality) -> Preprocessing:
    return Preprocessing(modalities=(modality,), size=(16, 16, 16 if modality == "t2f" else 1))
