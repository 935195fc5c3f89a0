import json
from collections.abc import Sequence
from pathlib import Path

import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
import torch
from jsonargparse import ArgumentError, auto_cli

from brats_lightning.errors import ConfigError
from brats_lightning.inference.postprocessing.postprocess import (
    STEPS,
    Argmax,
    Closing,
    FillHoles,
    KeepLargest,
    LabelStep,
    Opening,
    RelabelSmall,
    RemoveSmall,
    Step,
    Thresholds,
    plain,
    postprocess,
    steps_of,
)
from brats_lightning.labels import REGIONS

LabelMap = npt.NDArray[np.uint8]
MM = (1.0, 1.5, 2.0)
HERE = "brats_lightning.inference.postprocessing.postprocess"
LABEL_STEPS: list[LabelStep] = [
    *(RemoveSmall(region, voxels=3) for region in REGIONS),
    *(KeepLargest(region) for region in REGIONS),
    *(RelabelSmall(region, voxels=8, becomes="background") for region in REGIONS),
    *(FillHoles(region) for region in REGIONS),
    *(step(region, voxels) for step in (Opening, Closing) for region in REGIONS for voxels in (1, 2)),
]
EVERY_KIND: tuple[Step, ...] = (
    Thresholds({"ET": 0.4, "WT": 0.45}, "grow"),
    RemoveSmall("WT", voxels=10),
    RemoveSmall("TC", mm3=12.5, becomes="background"),
    KeepLargest("WT"),
    RelabelSmall("ET", voxels=50),
    FillHoles("WT", "ED"),
    Opening("ED"),
    Closing("TC", 2),
)


def label_maps() -> st.SearchStrategy[LabelMap]:
    shapes = hypothesis.extra.numpy.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6)
    return hypothesis.extra.numpy.arrays(np.uint8, shapes, elements=st.sampled_from([0, 0, 0, 1, 2, 2, 3, 3, 4, 5]))


def in_region(labels: LabelMap, region: str) -> npt.NDArray[np.bool_]:
    return np.isin(labels, REGIONS[region])


def certain(labels: LabelMap) -> torch.Tensor:
    """Probabilities that leave no doubt about these labels."""
    return torch.stack([torch.from_numpy(labels == value).float() for value in range(6)])


@hypothesis.given(label_maps(), st.sampled_from(LABEL_STEPS))
@hypothesis.settings(deadline=None, max_examples=400)
def test_every_step_leaves_its_input_and_knows_no_border(labels: LabelMap, step: LabelStep) -> None:
    given = labels.copy()
    result = step(labels, spacing_mm=MM)
    np.testing.assert_array_equal(labels, given)
    assert result.dtype == np.uint8
    assert not np.shares_memory(result, labels)
    surrounded = step(np.pad(labels, 3), spacing_mm=MM)
    np.testing.assert_array_equal(surrounded, np.pad(result, 3))
    turned = step(np.asfortranarray(labels), spacing_mm=MM)
    np.testing.assert_array_equal(turned, result)


@hypothesis.given(label_maps(), st.sampled_from(LABEL_STEPS))
@hypothesis.settings(deadline=None, max_examples=300)
def test_a_step_taken_twice_is_taken_once(labels: LabelMap, step: LabelStep) -> None:
    once = step(labels, spacing_mm=MM)
    if isinstance(step, RemoveSmall | KeepLargest | RelabelSmall | FillHoles):
        np.testing.assert_array_equal(step(once, spacing_mm=MM), once)


@hypothesis.given(
    label_maps(), st.sampled_from(["TC", "ET"]), st.sampled_from([RemoveSmall, KeepLargest, Opening, Closing])
)
@hypothesis.settings(deadline=None, max_examples=200)
def test_a_step_on_an_inner_region_leaves_the_outer_ones(labels: LabelMap, region: str, kind: type[LabelStep]) -> None:
    step = RemoveSmall(region, voxels=4) if kind is RemoveSmall else kind(region)  # type: ignore[call-arg]
    result = step(labels, spacing_mm=MM)
    for outer in ("WT", "TC", "RC") if region == "ET" else ("WT", "RC"):
        np.testing.assert_array_equal(in_region(result, outer), in_region(labels, outer))


@pytest.mark.parametrize("step", LABEL_STEPS, ids=str)
def test_background_stays_background_and_a_solid_stays_solid(step: LabelStep) -> None:
    assert not step(np.zeros((4, 5, 6), np.uint8), spacing_mm=MM).any()
    assert step(np.zeros((0, 5, 6), np.uint8), spacing_mm=MM).shape == (0, 5, 6)
    (value, *_) = REGIONS[step.region]  # type: ignore[attr-defined]
    solid = np.full((9, 9, 9), value, np.uint8)
    assert step(solid, spacing_mm=MM)[4, 4, 4] == value


@hypothesis.given(label_maps(), st.lists(st.sampled_from(LABEL_STEPS), max_size=4))
@hypothesis.settings(deadline=None, max_examples=100)
def test_postprocess_takes_the_steps_in_turn(labels: LabelMap, steps: list[LabelStep]) -> None:
    expected = labels
    for step in steps:
        expected = step(expected, spacing_mm=MM)
    for decision in ((), (Argmax(),), (Thresholds({}),)):
        np.testing.assert_array_equal(postprocess(certain(labels), [*decision, *steps], spacing_mm=MM), expected)


def test_without_steps_the_most_probable_label_wins() -> None:
    probabilities = torch.rand((4, 5, 6, 7), generator=torch.Generator().manual_seed(0)).softmax(0)
    labels = postprocess(probabilities, spacing_mm=MM)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, probabilities.argmax(0).numpy())


def test_a_later_decision_is_refused() -> None:
    with pytest.raises(ConfigError, match="Thresholds decides on labels and can only be the first step"):
        postprocess(certain(np.zeros((2, 2, 2), np.uint8)), [KeepLargest("WT"), Thresholds({})], spacing_mm=MM)


def test_steps_survive_json() -> None:
    stored = json.loads(json.dumps(plain(EVERY_KIND)))
    assert stored[1] == {
        "class_path": "RemoveSmall",
        "init_args": {"region": "WT", "voxels": 10, "mm3": None, "becomes": None},
    }
    assert steps_of(stored) == EVERY_KIND
    assert hash(steps_of(stored)) == hash(EVERY_KIND)
    assert {type(step).__name__ for step in (*EVERY_KIND, Argmax())} == set(STEPS)


def test_short_names_and_missing_arguments_are_understood() -> None:
    stored = ["Argmax", {"class_path": "Argmax"}, {"class_path": "KeepLargest", "init_args": {"region": "WT"}}]
    assert steps_of(stored) == (Argmax(), Argmax(), KeepLargest("WT"))
    assert steps_of([]) == ()


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ("Argmax", "expected a list of steps"),
        ({"class_path": "Argmax"}, "expected a list of steps"),
        ([{"class_path": "os.system", "init_args": {"command": "true"}}], "step 'os.system' is unknown: expected one"),
        ([{"class_path": "evil.RemoveSmall"}], "'evil.RemoveSmall' is unknown"),
        ([{"class_path": f"{HERE}.Step"}], "is unknown"),
        ([{"class_path": f"{HERE}.torch"}], "is unknown"),
        ([{"class_path": ["Argmax"]}], "is unknown"),
        ([{"class_path": "Argmax", "dict_kwargs": {}}], "expected class_path and init_args"),
        ([3], "step 3: expected class_path and init_args"),
        ([{"class_path": "Argmax", "init_args": {"axis": 1}}], "Argmax has no axis: expected nothing"),
        ([{"class_path": "KeepLargest", "init_args": {"regoin": "WT"}}], "no regoin: expected region and becomes"),
        ([{"class_path": "KeepLargest", "init_args": ["WT"]}], "init_args is .'WT'.: expected a value by name"),
        ([{"class_path": "KeepLargest"}], "KeepLargest: missing 1 required positional argument: 'region'"),
        ([{"class_path": "KeepLargest", "init_args": {"region": ["WT"]}}], "region is .'WT'.: expected one of"),
        ([{"class_path": "RemoveSmall", "init_args": {"region": "WT", "voxels": -1}}], "voxels is -1"),
    ],
)
def test_nothing_else_is_taken_from_a_stranger(stored: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        steps_of(stored)


def command(*, postprocessing: list[Step] | None = None) -> tuple[Step, ...] | None:
    """A command with a list of steps."""
    return None if postprocessing is None else tuple(postprocessing)


def called(*arguments: str) -> object:
    result: object = auto_cli(command, args=list(arguments), exit_on_error=False)
    return result


def test_steps_can_be_given_on_the_command_line() -> None:
    assert called() is None
    assert called("--postprocessing=[]") == ()
    steps = [{"class_path": "Thresholds", "init_args": {"thresholds": {"ET": 0.4}}}, "Argmax"]
    assert called(f"--postprocessing={json.dumps(steps)}") == (Thresholds({"ET": 0.4}), Argmax())
    appended: Sequence[str] = ("--postprocessing+=RemoveSmall", "--postprocessing.region=ET", "--postprocessing.mm3=50")
    assert called(*appended, "--postprocessing+=KeepLargest", "--postprocessing.region=WT") == (
        RemoveSmall("ET", mm3=50.0),
        KeepLargest("WT"),
    )


def test_steps_can_be_given_in_a_file(tmp_path: Path) -> None:
    config = tmp_path / "predict.yaml"
    config.write_text(
        "postprocessing:\n"
        "- class_path: Thresholds\n  init_args: {thresholds: {WT: 0.45, ET: 0.4}, nesting: grow}\n"
        "- class_path: RemoveSmall\n  init_args:\n    region: WT\n    voxels: 10\n"
    )
    assert called(f"--config={config}") == (Thresholds({"WT": 0.45, "ET": 0.4}, "grow"), RemoveSmall("WT", voxels=10))
    config.write_text(json.dumps({"postprocessing": plain(EVERY_KIND)}))
    assert called(f"--config={config}") == EVERY_KIND


def test_the_command_line_refuses_what_is_no_step() -> None:
    with pytest.raises(ArgumentError, match="does not correspond to a subclass of Step"):
        called('--postprocessing=[{"class_path": "os.system"}]')
    with pytest.raises(ValueError, match="region is 'tumour': expected one of NCR") as refused:
        called("--postprocessing+=KeepLargest", "--postprocessing.region=tumour")
    assert isinstance(refused.value.__cause__, ConfigError)
