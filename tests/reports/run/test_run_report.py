"""What a run's report says, of whole runs and of those that lack almost everything."""

import html
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pytest
from PIL import Image

from brats_lightning.errors import BratsError
from brats_lightning.loggers.metrics_csv import MetricsCsv
from brats_lightning.reports.class_tables import write_class_scores
from brats_lightning.reports.run.facts import Start, write_starts
from brats_lightning.reports.run.folder import open_run
from brats_lightning.reports.run.report import run_report

if TYPE_CHECKING:
    from playwright.sync_api import Page

CONFIG = """
model:
  network:
    class_path: brats_lightning.model.slice_wise.SliceWise
    init_args: {network: {class_path: monai.networks.nets.UNet, init_args: {channels: [16, 32]}}}
data:
  root: /data/of/somebody/BraTS-X
  edition: '2021'
  split: {class_path: brats_lightning.data.splits.HoldOut, init_args: {validation: 4, seed: 0}}
  preprocessing: {size: [64, 64, 64], bias_field: true, n4: {shrink: 4}}
  augmentation: [{class_path: monai.transforms.RandFlipd, init_args: {prob: 0.5}}]
  batch_size: 2
"""
CASES = [f"case-{number:02}" for number in range(12)]
WriteScores = Callable[..., Path]
MakeRun = Callable[..., Path]
OpenPage: TypeAlias = "Callable[..., Page]"


@pytest.fixture
def make_run(tmp_path: Path, write_score_file: WriteScores) -> MakeRun:
    """Writes the folder of a run with the parts that are asked for."""

    def make(*parts: str, name: str = "net") -> Path:
        run = tmp_path / "runs" / name
        run.mkdir(parents=True)
        if "config" in parts:
            (run / "config.yaml").write_text(CONFIG)
        if "split" in parts:
            split = {"train": ["t-1", "t-2"], "validation": ["v-<1>"], "test": CASES, "left_out": {"bad-1": "no label"}}
            (run / "split.json").write_text(json.dumps(split))
        if "metrics" in parts:
            logger = MetricsCsv(run)
            for epoch in range(3):
                scores = {
                    "val/dice_ET": 0.3 * epoch,
                    "val/hd95_mm_ET": 9.0 - epoch,
                    "val/dice_mean_ET_ED_NCR": 0.2 * epoch,
                }
                logger.log_metrics({"epoch": epoch, "val/loss": 1.0 - 0.1 * epoch, "lr-Adam": 0.1, **scores}, epoch)
        if "scores" in parts:
            numbers = {case: (index / 12, 20.0 - index, float(index)) for index, case in enumerate(CASES)}
            columns = ["dice", "hd95_mm", "reference_volume_ml"]
            write_score_file(f"runs/{name}/scores_test.csv", numbers, columns=columns, regions=["ET", "WT"])
        if "figures" in parts:
            drawn = run / "figures" / "scores_test"
            drawn.mkdir(parents=True)
            Image.new("RGB", (3000, 40), "red").save(drawn / "case-00.png")
            (drawn / "case-11.png").write_bytes(b"no picture")
            Image.new("RGB", (3000, 40), "red").save(run / "figures" / "case-01.png")  # of nobody knows which network
        return run

    return make


def words(path: Path) -> str:
    """What a page says, without markup and pictures."""
    text = re.sub(r"<style>.*?</style>|base64,[^\"]*", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def test_a_whole_run_is_told(make_run: MakeRun) -> None:
    run = make_run("config", "split", "metrics", "scores", "figures")
    path = run_report(run)
    said = words(path)
    for sentence in (
        "SliceWise of UNet", "2 training, 1 validation, 12 test", "v-<1>", "bad-1: no label", "BraTS-X",
        "HoldOut: validation 4, seed 0", "size [64, 64, 64], bias field true", "RandFlipd",
        "epoch 3, mean Dice of ET, ED, NCR 0.400 in validation",
        "empty masks brats convention: both masks empty: Dice 1 and 0 mm", "The 5 worst cases case",
        "Dice is 0, where a region was missed, invented or found elsewhere: ET in 1 case, WT in 1 case.",
        "case-00: mean Dice 0.000",
        "There is no picture of case-01, case-02, case-03, case-04, case-11, case-10, case-09, case-08, case-07: ",
        ": `brats test --run RUN` draws the worst and the best cases", "channels: [16, 32]",
    ):  # fmt: skip
        assert sentence in said
    # Mean, sample deviation, median and quartiles of 0/12 … 11/12.
    assert "Dice ET 0.458 ± 0.300 0.458 0.229 – 0.688 12" in said
    worst, best = said.split("The 5 worst cases")[1].split("The 5 best cases")
    assert [case for case in CASES if f" {case} 0." in worst] == CASES[:5]
    assert [case for case in CASES if f" {case} 0." in best] == CASES[-5:]
    assert {file.name for file in path.parent.iterdir()} == {
        "report.html", "curves.png", "speed.png", "scores_test.png", "scores_test_volume.png",
    }  # fmt: skip
    text = path.read_text(encoding="utf-8")
    assert text.count("<img ") == 5  # four plots, and the one case whose picture can be read
    assert text.count("data:image/jpeg") == 1
    assert set(re.findall(r'src="([^:]*):', text)) == {"data"}
    assert not re.search(r"https?://", text.replace(CONFIG, ""))


@pytest.mark.parametrize(
    ("parts", "sentences"),
    [
        (["config", "split", "metrics"], ["No case of this run was scored"]),
        (["config", "split", "scores"], ["metrics.csv is missing: there are no curves"]),
        (["config", "metrics"], ["split.json is missing: which cases were trained on is not known"]),
        (["metrics"], ["config.yaml is missing", "Machine and commit were not recorded"]),
        (["scores"], ["config.yaml is missing", "The 5 best cases"]),
    ],
)
def test_what_is_missing_is_said(make_run: MakeRun, parts: list[str], sentences: list[str]) -> None:
    said = words(run_report(make_run(*parts)))
    assert all(sentence in said for sentence in sentences)


def test_a_run_that_was_killed_while_it_wrote_is_reported(make_run: MakeRun) -> None:
    run = make_run("config", "metrics", "scores")
    for name in ("metrics.csv", "scores_test.csv"):
        (run / name).write_bytes((run / name).read_bytes()[:-10])
    (run / "split.json").write_text('{"train": [')
    said = words(run_report(run))
    assert "metrics.csv ends in the middle of a row, which is left out." in said
    assert "scores_test.csv was cut short: case-11, in which it ends, is left out." in said
    assert "Dice ET 0.417 ± 0.276" in said  # of the eleven cases that are whole
    assert "split.json is no list of cases" in said
    assert "best network: epoch 2" in said  # the third epoch was cut off
    assert str(run) not in said  # the report goes to people who have another disk


def test_undefined_scores_and_single_cases_are_no_obstacle(make_run: MakeRun, write_score_file: WriteScores) -> None:
    run = make_run("config")
    write_score_file("runs/net/scores_test.csv", {"a": ("nan", "nan")}, columns=["dice", "hd95_mm"], empty_masks="nan")
    write_score_file("runs/net/scores_validation.csv", {"b": (0.5, 3.0)}, columns=["dice", "hd95_mm"])
    said = words(run_report(run))
    assert "Dice is undefined and left out: ET in 1 case." in said
    assert "No case has a defined Dice" in said
    assert "The only case" in said
    assert "Dice ET 0.500 0.500 – 1" in said
    assert said.count("1 case: too few for an estimate of accuracy.") == 2


def test_classes_stand_with_the_scores_of_their_part(make_run: MakeRun) -> None:
    run = make_run("scores")
    (run / "scores_classes_test.csv").write_text(
        "case,region,precision,accuracy,grid\n"
        "all cases,class_WT,0.25,0.5,native\n"
        "all cases,macro_tumour_classes,0.125,0.5,native\n"
    )
    said = words(run_report(run))
    assert "WT 0.2500 0.5000 macro tumour classes 0.1250 0.5000" in said
    assert said.count("Scores: ") == 2  # the heading, and its entry in the contents


@pytest.mark.slow
def test_a_browser_shows_it_without_asking_anybody(make_run: MakeRun, open_page: OpenPage) -> None:
    page = open_page(run_report(make_run("config", "split", "metrics", "scores", "figures")), width=390, height=800)
    for image in page.query_selector_all("img"):
        image.scroll_into_view_if_needed()
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth > 100)")
    assert page.evaluate("document.documentElement.scrollWidth") == 390  # nothing sticks out of a phone
    page.set_viewport_size({"width": 640, "height": 800})  # heads of tables break before a column is out of sight
    tables = "Array.from(document.querySelectorAll('.wide')).filter(each => each.querySelector('table'))"
    assert page.evaluate(f"{tables}.length") > 2
    assert page.evaluate(f"{tables}.filter(each => each.scrollWidth > each.clientWidth).length") == 0


def test_pictures_lie_beside_a_report_of_ones_own_name(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("metrics")
    assert run_report(run, output=tmp_path / "for" / "me.html") == tmp_path / "for" / "me.html"
    assert sorted(path.name for path in (tmp_path / "for" / "me").iterdir()) == ["curves.png", "speed.png"]
    assert not (run / "report").exists()
    shutil.rmtree(tmp_path / "for")
    run_report(make_run("config", name="other"), output=tmp_path / "for" / "me.html")
    assert [path.name for path in (tmp_path / "for").iterdir()] == ["me.html"]  # no folder without pictures


def test_what_is_no_run_is_refused_in_a_sentence(tmp_path: Path, make_run: MakeRun) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BratsError, match=r"empty is no folder of a run: expected config\.yaml"):
        run_report(tmp_path / "empty")
    with pytest.raises(BratsError, match=r"no folder of a run \(nothing there\)"):
        open_run(tmp_path / "nowhere")
    run = make_run("config")
    with pytest.raises(BratsError, match=r"no folder of a run \(a file\)"):
        run_report(run / "config.yaml")
    for wrong in (run, run / "report.pdf"):
        with pytest.raises(BratsError, match="is no name of an HTML file: give --output"):
            run_report(run, output=wrong)
    (tmp_path / "file").touch()
    with pytest.raises(BratsError, match=r"cannot be written .*: give another --output"):
        run_report(run, output=tmp_path / "file" / "report.html")


def test_what_became_of_the_voxels_of_each_class_is_drawn(make_run: MakeRun) -> None:
    run = make_run("scores")
    counts = np.array([[90, 2], [3, 5]])
    write_class_scores(run / "scores_classes_test.csv", counts, ["WT"], grid="native", checkpoint="")
    path = run_report(run)
    assert "Classes, voxels of all cases pooled" in words(path)
    assert (path.parent / "scores_classes_test.png").is_file()
    assert path.read_text(encoding="utf-8").count("<img ") == 3


@pytest.mark.parametrize(("grid", "checkpoint"), [("preprocessed", ""), ("native", "last.ckpt")])
def test_classes_of_other_predictions_are_left_out(make_run: MakeRun, grid: str, checkpoint: str) -> None:
    run = make_run("scores")
    counts = np.array([[90, 2], [3, 5]])
    write_class_scores(run / "scores_classes_test.csv", counts, ["WT"], grid=grid, checkpoint=checkpoint)
    said = words(run_report(run))
    assert "scores_classes_test.csv is left out: it is of another checkpoint or grid than scores_test.csv." in said
    assert "voxels of all cases pooled" not in said


def test_plots_of_what_is_gone_go_and_files_of_others_stay(make_run: MakeRun) -> None:
    run = make_run("metrics", "scores")
    folder = run_report(run).parent
    for name in ("case.html", "scores_mine.png"):
        (folder / name).touch()
    for name in ("scores_test.csv", "metrics.csv"):
        (run / name).unlink()
    (run / "split.json").write_text('{"train": ["a"], "validation": []}')
    run_report(run)
    assert {path.name for path in folder.iterdir()} == {"case.html", "scores_mine.png", "report.html"}


def test_validation_cases_are_shown_as_they_were_drawn_last(make_run: MakeRun) -> None:
    run = make_run("metrics")
    folder = run / "figures" / "validation"
    folder.mkdir(parents=True)
    for name in ("v-1_epoch_001", "v-1_epoch_020", "v_epoch_2_epoch_1000", "v_epoch_2_epoch_999", "photo"):
        Image.new("RGB", (40, 40)).save(folder / f"{name}.png")
    said = words(run_report(run))
    assert "v-1, after epoch 20" in said
    assert "v_epoch_2, after epoch 1000" in said
    assert said.count(", after epoch") == 2


def test_starts_are_told_one_by_one(make_run: MakeRun) -> None:
    run = make_run("metrics")
    first = Start("2026-03-05T14:02:31+01:00", steps=2, seconds=60.0, commit="abc", machine={"GPU": "2 × H200"})
    write_starts(run, [first])
    said = words(run_report(run))
    assert "trained 3 epochs, 3 steps, 1 min 00 s" in said
    assert "started 2026-03-05 14:02 (UTC+01:00) git commit abc GPU 2 × H200" in said
    again = Start("2026-03-06T09:00:00+01:00", from_step=2, steps=3, seconds=30.0, versions={"torch": "2.9"})
    write_starts(run, [first, again])
    (run / "metrics.csv").write_text("step,epoch\n")  # curves take time to draw
    said = words(run_report(run))
    assert "started 2026-03-05 14:02 (UTC+01:00), gone on with 1 time" in said
    assert "2026-03-05 14:02 (UTC+01:00) 0 – 2 1 min 00 s abc – 2 × H200" in said
    assert "2026-03-06 09:00 (UTC+01:00) 2 – 3 30 s – 2.9 none" in said
    (run / "facts.json").write_text("[{")
    assert "facts.json is no list of starts" in words(run_report(run))


def test_no_place_on_a_disk_is_told_of_a_broken_table_of_classes(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("scores")
    (run / "scores_classes_test.csv").write_text("case,region,precision\nall,class_1")
    text = run_report(run).read_text(encoding="utf-8")
    assert "scores_classes_test.csv is left out" in text
    assert str(tmp_path) not in text


def test_a_page_beside_a_run_leaves_its_folder_as_it_is(make_run: MakeRun) -> None:
    run = make_run("metrics")
    run_report(run, output=run.with_suffix(".html"))
    assert sorted(each.name for each in run.iterdir()) == ["metrics.csv", "report"]
