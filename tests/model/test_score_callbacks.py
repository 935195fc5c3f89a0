import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pytorch_lightning import Trainer
from torch import nn

from brats_lightning.errors import ConfigError
from brats_lightning.labels import CASE, IMAGE, LABEL
from brats_lightning.metrics.confusion import flat
from brats_lightning.model import score_callbacks
from brats_lightning.model.module import SegmentationModule
from brats_lightning.model.score_callbacks import ClassScores, SliceScores
from brats_lightning.model.scored_case import ScoredCase

Labels = npt.NDArray[np.uint8]


def maps(shape: Sequence[int] = (6, 5, 4), *, seed: int = 0) -> tuple[Labels, Labels]:
    prediction, reference = np.random.default_rng(seed).integers(0, 4, (2, *shape)).astype(np.uint8)
    return prediction, reference


def scored(prediction: Labels, reference: Labels, *, case: str = "a") -> ScoredCase:
    spacing_mm = (1.0, 2.0, 3.0)
    return ScoredCase(
        case, lambda: torch.zeros(4, 1, 1, 1), torch.from_numpy(prediction), torch.from_numpy(reference), spacing_mm
    )


def dice(prediction: Labels, reference: Labels, values: Sequence[int]) -> float:
    predicted, expected = np.isin(prediction, values), np.isin(reference, values)
    whole = int(predicted.sum() + expected.sum())
    return 2 * int((predicted & expected).sum()) / whole if whole else math.nan


class LabelLoss(nn.Module):
    """Cross-entropy of labels (B, 1, X, Y, Z)."""

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(logits, target[:, 0])


def module_of() -> SegmentationModule:
    torch.manual_seed(0)
    return SegmentationModule(nn.Conv3d(4, 4, 1), LabelLoss(), compile=False)


@pytest.mark.parametrize("stage", ["val", "test"])
def test_all_voxels_of_all_cases_are_pooled_and_logged(
    stage: str, cases_of: Callable[..., Any], trainer_of: Callable[..., Trainer]
) -> None:
    classes, slices = ClassScores(), SliceScores(plane="coronal", regions=["ET"], empty="exclude")
    module = module_of()
    trainer = trainer_of(callbacks=[classes, slices])
    loader = cases_of(5)
    if stage == "val":
        trainer.validate(module, loader, verbose=False)
    else:
        trainer.test(module, loader, verbose=False)
    batches = list(loader)
    with torch.no_grad():
        prediction = torch.cat([module(batch[IMAGE]).argmax(1) for batch in batches])
    reference = torch.cat([batch[LABEL][:, 0] for batch in batches])
    logged = trainer.callback_metrics
    assert logged[f"{stage}/precision_micro_with_background"] == pytest.approx(
        float((prediction == reference).float().mean()), abs=1e-6
    )
    assert logged[f"{stage}/sensitivity_class_ET"] == pytest.approx(
        float(((prediction == 3) & (reference == 3)).sum() / (reference == 3).sum()), abs=1e-6
    )
    planes = [
        (p[:, index].numpy(), r[:, index].numpy())
        for p, r in zip(prediction, reference, strict=True)
        for index in range(8)
    ]
    assert logged[f"{stage}/slice_count"] == len(planes) == 40
    assert logged[f"{stage}/slice_dice_ET"] == pytest.approx(np.mean([dice(p, r, [3]) for p, r in planes]), abs=1e-6)
    for callback in (classes, slices):
        assert {f"{stage}/{name}" for name in callback.names} <= set(logged)
        assert callback.logged_names == [f"val/{name}" for name in callback.names]
    assert classes.cases == 5
    assert set(slices.scores.rows) == {
        f"{batch} coronal {n:03}" for b in batches for batch in b[CASE] for n in range(8)
    }


def test_an_epoch_begins_anew(cases_of: Callable[..., Any], trainer_of: Callable[..., Trainer]) -> None:
    classes = ClassScores()
    module = module_of()
    trainer = trainer_of(callbacks=[classes])
    for count in (3, 2):
        trainer.validate(module, cases_of(count), verbose=False)
        assert classes.cases == count
        assert classes.counts.sum() == count * 8**3


@pytest.mark.parametrize("shares", [[[0, 1, 2]], [[0], [1, 2]], [[2, 0], [1], [0]]])
def test_shares_of_several_processes_give_the_scores_of_one(
    shares: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A case that two have scored, as a sampler that pads would have it, counts once."""
    everyone = [ClassScores() for _ in shares]
    for callback, numbers in zip(everyone, shares, strict=True):
        for number in numbers:
            callback.update(scored(*maps(seed=number), case=f"case-{number}"))
    monkeypatch.setattr(score_callbacks, "gathered", lambda _: [callback._of_cases for callback in everyone])
    found = [callback.compute() for callback in everyone]
    predictions, references = (np.stack([maps(seed=number)[side] for number in range(3)]) for side in (0, 1))
    alone = ClassScores()
    alone.update(scored(predictions.reshape(18, 5, 4), references.reshape(18, 5, 4)))
    monkeypatch.undo()
    expected = alone.compute()
    assert all(one == expected for one in found)
    assert [callback.cases for callback in everyone] == [3] * len(shares)


def test_classes_are_chosen_by_name_and_the_rest_is_background() -> None:
    prediction, reference = np.array([[[0, 6, 6, 0]]], np.uint8), np.array([[[0, 6, 0, 4]]], np.uint8)
    callback = ClassScores(classes=["WT"])
    callback.update(scored(prediction, reference))
    assert callback.compute()["iou_class_WT"] == 0.5
    assert callback.counts.tolist() == [[2, 0], [1, 1]]
    assert callback.compute() == pytest.approx(flat(callback.counts, ["WT"]))


@pytest.mark.parametrize(("plane", "axis", "count"), [("sagittal", 0, 6), ("coronal", 1, 5), ("axial", 2, 4)])
def test_slices_are_cases_of_their_own(plane: Any, axis: int, count: int) -> None:
    prediction, reference = maps()
    callback = SliceScores(plane=plane, regions=["WT"])
    callback.update(scored(prediction, reference))
    found = callback.compute()
    assert found["slice_count"] == count
    each = [
        dice(np.take(prediction, index, axis), np.take(reference, index, axis), [1, 2, 3]) for index in range(count)
    ]
    assert [row["dice_WT"] for row in callback.scores.rows.values()] == pytest.approx(each)
    assert found["slice_dice_WT"] == pytest.approx(sum(each) / count)


@pytest.mark.parametrize(("empty", "expected"), [("brats", (1 + 0 + 0 + 1) / 4), ("exclude", 0.5), ("nan", 1 / 3)])
def test_what_empty_slices_count_is_named(empty: str, expected: float) -> None:
    """Of four slices one is found, one missed, one found where nothing is, and one is rightly empty."""
    reference, prediction = np.zeros((2, 3, 3, 4), np.uint8)
    reference[0, 0, [0, 1]] = 3
    prediction[0, 0, [0, 2]] = 3
    callback = SliceScores(regions=["ET"], empty=empty)
    callback.update(scored(prediction, reference))
    assert callback.compute()["slice_dice_ET"] == pytest.approx(expected)


def test_distances_within_slices_are_in_their_own_millimetres() -> None:
    reference, prediction = np.zeros((2, 9, 9, 2), np.uint8)
    reference[2, 2, 0] = prediction[2, 5, 0] = 3
    callback = SliceScores(regions=["ET"], scores=["hd95_mm"], empty="exclude")
    callback.update(scored(prediction, reference))
    assert callback.compute()["slice_hd95_mm_ET"] == 6  # three voxels of 2 mm


def test_mistakes_are_refused(trainer_of: Callable[..., Trainer], cases_of: Callable[..., Any]) -> None:
    for wrong, sentence in (
        (lambda: ClassScores(classes=["XX"]), "unknown region XX"),
        (lambda: ClassScores(classes=["ET", "WT"]), "exclude each other, found ET 3; WT"),
        (lambda: SliceScores(empty="zero"), "unknown policy"),
        (lambda: SliceScores(plane="oblique"), "'oblique': expected one of sagittal"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigError, match=sentence):
            wrong()
    with pytest.raises(ConfigError, match="has ClassScores twice"):
        trainer_of(callbacks=[ClassScores(), ClassScores(classes=["WT"])]).validate(module_of(), cases_of(2))


@pytest.mark.parametrize("callback", [ClassScores(), SliceScores(regions=["WT", "ET"])])
def test_tissues_of_a_network_that_tells_tumour_alone_are_not_scored(
    callback: ClassScores | SliceScores, trainer_of: Callable[..., Trainer], cases_of: Callable[..., Any]
) -> None:
    """Its label is none of theirs: all would be background, and the accuracy perfect."""
    module = module_of()
    module.outputs = "tumour"
    with pytest.raises(ConfigError, match=rf"have {type(callback).__name__} score \[WT\], found .*ET"):
        trainer_of(callbacks=[callback]).validate(module, cases_of(2))
