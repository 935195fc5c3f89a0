"""The sbatch files as they are, on a real SLURM: what is interrupted ends as if nothing had happened.

A process spends most of its time on imports, so everything that the tests look at goes on at once.
"""

import csv
import json
import os
import random
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import pytest
import torch

from tests.slurm_cluster import SPARE, Cluster, missing_commands, until

ROOT = Path(__file__).parents[1]
REQUEUES = int(os.environ.get("BRATS_TEST_REQUEUES", "4"))
EPOCHS, STEPS = max(10, REQUEUES), 8
"""Epochs, and steps of an epoch, of every run here."""
PATIENCE = 540
"""Seconds for a job to come out of the queue and to its end, on a machine that has other work too."""
CONFIG = f"""
seed_everything: 3
model:
  network:
    class_path: monai.networks.nets.UNet
    init_args: {{spatial_dims: 3, in_channels: 4, out_channels: 4, channels: [4, 8], strides: [2], norm: instance}}
  loss: {{class_path: monai.losses.DiceFocalLoss, init_args: {{softmax: true, to_onehot_y: true}}}}
  optimizer: {{class_path: torch.optim.Adam, init_args: {{lr: 3.0e-3}}}}
  scheduler: {{class_path: torch.optim.lr_scheduler.CosineAnnealingLR, init_args: {{T_max: {EPOCHS}}}}}
data:
  root: cases
  preprocessing: {{size: [16, 16, 16]}}
  augmentation:
    - {{class_path: monai.transforms.RandGaussianNoised, init_args: {{keys: image, prob: 0.5}}}}
  split: {{class_path: brats_lightning.data.splits.HoldOut, init_args: {{validation: 2}}}}
  samples_per_epoch: {2 * STEPS}
  batch_size: 1
  workers: 0
trainer:
  max_epochs: {EPOCHS}
  num_sanity_val_steps: 0
  log_every_n_steps: 1
  enable_progress_bar: false
  logger: false  # metrics.csv is written all the same
  callbacks:
    - class_path: tests.recorder.Recorder
    - class_path: brats_lightning.model.callbacks.BestCheckpoint
    - class_path: brats_lightning.model.ema.ExponentialMovingAverage
    - class_path: brats_lightning.model.callbacks.LastCheckpoint
"""

needed = missing_commands()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(needed), reason=f"needs SLURM on this machine, which lacks {', '.join(needed)}"),
]


class Site:
    """A cluster, a working folder that one submits from, and what goes on there."""

    def __init__(self, cluster: Cluster, home: Path) -> None:
        self.cluster = cluster
        self.home = home
        self._begun: dict[Callable[[Site], str], Future[str]] = {}
        self._lock = Lock()
        self._threads = ThreadPoolExecutor(16)

    def begin(self, scenario: "Callable[[Site], str]") -> "Future[str]":
        """Start what a test looks at, once."""
        with self._lock:
            if scenario not in self._begun:
                self._begun[scenario] = self._threads.submit(scenario, self)
            return self._begun[scenario]

    def result(self, scenario: "Callable[[Site], str]") -> Path:
        """The folder of the run that it made."""
        return self.home / self.begin(scenario).result()

    def submit(
        self, script: str, *arguments: str, environment: dict[str, str] | None = None, **options: str | int
    ) -> str:
        """Type `sbatch slurm/SCRIPT ARGUMENTS`."""
        options = {"cpus_per_task": 1, **options}
        return self.cluster.submit(f"slurm/{script}", *arguments, folder=self.home, environment=environment, **options)

    def ends(self, job: str, seconds: float = PATIENCE) -> None:
        """Wait until a job has ended well."""
        state = self.cluster.wait(job, seconds)
        assert state == "COMPLETED", f"{state}: {self.said(job)}"

    def said(self, job: str) -> str:
        """The end of a job's output."""
        facts = self.cluster.facts(job)
        path = Path(facts["StdOut"])
        return path.read_text()[-3000:] if path.exists() else f"nothing yet, {facts['JobState']}"

    def steps(self, run: str | Path, rank: int = 0) -> list[str]:
        """What a rank was trained on, step by step; a line that is still being written is none."""
        path = self.home / run / f"seen-{rank}.txt"
        return path.read_text().split("\n")[:-1] if path.exists() else []

    def trains(self, job: str, run: str, *, after: int) -> None:
        """Wait until a job has done more than a number of steps."""
        self.cluster.wait_running(job, PATIENCE)
        done = f"{run} has done more than {after} steps"
        until(lambda: len(self.steps(run)) > after, 180, done, lambda: self.said(job), every=0.05)


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("site")
    (home / "slurm").symlink_to(ROOT / "slurm")
    (home / "cases").symlink_to(phantoms)
    (home / "small.yaml").write_text(CONFIG)
    (home / "grid.yaml").write_text(
        "- --seed_everything=1\n- --model.optimizer.init_args.lr=1e-3 --seed_everything=2\n"
    )
    brats = f"{shlex.quote(sys.executable)} -W ignore -m brats_lightning"
    (home / "site.env").write_text(f'BRATS="{brats}"\nBRATS_SETUP="export PYTHONPATH={ROOT}"\n')
    cluster = Cluster()
    try:
        cluster.environment["BRATS_SITE"] = "site.env"
        cluster.start(nodes=2, spare=2, cpus=3)  # no more processes at once than a small machine can bear
        site = Site(cluster, home)
        if sum(item.path == request.path for item in request.session.items) > 1:
            for scenario in SCENARIOS:
                site.begin(scenario)
        yield site
    finally:
        cluster.stop()


# What goes on: each gives the folder of its run.


def two_nodes(site: Site) -> str:
    job = site.submit("fit.sbatch", "small.yaml", nodes=2)
    site.ends(job)
    return f"runs/small-{job}"


def one_node(site: Site) -> str:
    job = site.submit("fit.sbatch", "small.yaml", ntasks_per_node=2)
    site.ends(job)
    return f"runs/small-{job}"


def one_process(site: Site) -> str:
    job = site.submit("fit.sbatch", "small.yaml", "--data.batch_size=2")
    site.ends(job)
    return f"runs/small-{job}"


def asked_often(site: Site) -> str:
    """SIGUSR1 at random moments of imports and of training, ten times or as often as a benchmark wants."""
    cluster = site.cluster
    job = site.submit("fit.sbatch", "small.yaml", nodes=2, environment={"PAUSE": "0.1"})
    run = f"runs/small-{job}"
    moments = random.Random(0)
    for number in range(REQUEUES):
        cluster.wait_running(job)
        until(lambda: len(cluster.tasks(job, listening=True)) == 2, 120, "both ranks listen", lambda: site.said(job))
        if number % 2:
            site.trains(job, run, after=len(site.steps(run)))
        time.sleep(moments.uniform(0, 1))
        cluster.signal(job)
        until(lambda: cluster.state(job) == "PENDING", 120, f"{job} is queued again", lambda: site.said(job), every=0.1)
    cluster.wait_running(job)
    site.ends(job)
    assert cluster.restarts(job) == REQUEUES
    return run


def short_of_time(site: Site) -> str:
    """A job with more work than its two minutes less one."""
    job = site.submit(
        "fit.sbatch", "small.yaml", "--data.batch_size=2", environment={"PAUSE": "0.65"}, time=2, signal="USR1@60"
    )
    site.ends(job)
    assert site.cluster.restarts(job) > 0
    return f"runs/small-{job}"


def not_to_be_requeued(site: Site) -> str:
    """Where jobs may not be re-queued, one types what the stopped job has left behind."""
    variables = {"PAUSE": "0.1"}
    job = site.submit("fit.sbatch", "small.yaml", "--data.batch_size=2", environment=variables, no_requeue="")
    run = f"runs/small-{job}"
    site.trains(job, run, after=0)
    site.cluster.signal(job)
    assert site.cluster.wait(job) == "FAILED"
    assert site.cluster.facts(job)["ExitCode"] == "75:0"
    line = (site.home / run / "resubmit.sh").read_text().splitlines()[-1]
    assert " sbatch " in line
    site.ends(site.cluster.typed(line.replace(" sbatch ", " sbatch --parsable --cpus-per-task=1 ")))
    return run


def lost_node(site: Site) -> str:
    """One of two nodes fails in mid-epoch, after checkpoints."""
    job = site.submit("fit.sbatch", "small.yaml", nodes=2, partition=SPARE, environment={"PAUSE": "0.1"})
    run = f"runs/small-{job}"
    site.trains(job, run, after=2 * STEPS + 2)
    site.cluster.node_down(site.cluster.nodes_of(job)[1])
    site.ends(job)
    assert site.cluster.restarts(job) == 1
    return run


def lost_rank(site: Site) -> str:
    """One of two ranks is killed; the file tells how long the job went on, and how it ended."""
    job = site.submit("fit.sbatch", "small.yaml", ntasks_per_node=2, environment={"PAUSE": "0.5"})
    site.trains(job, f"runs/small-{job}", after=2)
    os.kill(site.cluster.tasks(job)[1], signal.SIGKILL)
    killed = time.monotonic()
    state = site.cluster.wait(job, 60)
    (site.home / "killed.json").write_text(json.dumps([state, time.monotonic() - killed, site.cluster.restarts(job)]))
    return "killed.json"


def three_folds(site: Site) -> str:
    """An array of which one element is re-queued, compared with scores from elsewhere."""
    cluster = site.cluster
    cases = sorted(path.name for path in (site.home / "cases").glob("BraTS*"))
    rows = [f"{case},{region},0.5,9.0,brats,directed,native" for case in cases for region in ("ET", "WT", "TC")]
    header = "case,region,dice,hd95_mm,empty_masks,distances,grid"
    (site.home / "baseline.csv").write_text("\n".join([header, *rows]) + "\n")
    variables = {"BASELINE": "baseline.csv", "PAUSE": "0.1"}
    job = site.submit("folds.sbatch", "small.yaml", "--trainer.max_epochs=2", array="0-2", environment=variables)
    run = f"runs/small-{job}"
    site.trains(f"{job}_1", f"{run}/fold-1", after=0)
    cluster.signal(f"{job}_1")
    for fold in range(3):
        site.ends(f"{job}_{fold}")
    assert [cluster.restarts(f"{job}_{fold}") for fold in range(3)] == [0, 1, 0]
    (evaluation,) = cluster.named("evaluate")
    site.ends(evaluation)
    return run


def grid(site: Site) -> str:
    job = site.submit("sweep.sbatch", "small.yaml", "grid.yaml", "--trainer.max_epochs=1", array="1")
    site.ends(f"{job}_1")
    return f"runs/sweep-{job}/1"


def filled_cache(site: Site) -> str:
    job = site.submit("cache.sbatch", "small.yaml", "--data.cache_dir=cache", array="1-2")
    for element in (1, 2):
        site.ends(f"{job}_{element}")
    return "cache"


def shared_prediction(site: Site) -> str:
    """Two elements of two tasks each segment six cases."""
    words = ["cases", "--checkpoint", str(site.result(one_process)), "--output", "predictions"]
    job = site.submit("predict.sbatch", *words, array="1-2", ntasks_per_node=2)
    for element in (1, 2):
        site.ends(f"{job}_{element}")
    return "predictions"


SCENARIOS = [
    short_of_time,
    asked_often,
    two_nodes,
    one_node,
    one_process,
    three_folds,
    lost_node,
    lost_rank,
    not_to_be_requeued,
    grid,
    filled_cache,
    shared_prediction,
]


def weights(run: Path) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert (checkpoint["epoch"], checkpoint["global_step"]) == (EPOCHS - 1, EPOCHS * STEPS)
    state: dict[str, torch.Tensor] = checkpoint["state_dict"]
    return state


def assert_same_run(run: Path, uncut: Path) -> None:
    """Bit for bit: weights, and every number that was logged."""
    own, other = weights(run), weights(uncut)
    assert own.keys() == other.keys()
    assert all(torch.equal(own[name], other[name]) for name in own)
    assert (run / "metrics.csv").read_text() == (uncut / "metrics.csv").read_text()


def validation_scores(run: Path) -> list[dict[str, float]]:
    with (run / "metrics.csv").open(newline="") as file:
        rows = [
            {key: float(value) for key, value in row.items() if key.startswith("val/") and value}
            for row in csv.DictReader(file)
        ]
    return [row for row in rows if row]


def test_ranks_on_two_nodes_and_on_one_are_the_same_run(site: Site) -> None:
    assert_same_run(site.result(one_node), site.result(two_nodes))
    for rank in (0, 1):
        assert site.steps(site.result(one_node), rank) == site.steps(site.result(two_nodes), rank)


def test_two_processes_score_as_one_does(site: Site) -> None:
    """The same samples make a step, and sums in another order differ in their last digits only."""
    two, one = site.result(two_nodes), site.result(one_process)
    together = [[json.loads(line)[4] for line in site.steps(two, rank)] for rank in (0, 1)]
    alone = [json.loads(line)[4] for line in site.steps(one)]
    assert [sorted(a + b) for a, b in zip(*together, strict=True)] == [sorted(seeds) for seeds in alone]
    scores, expected = validation_scores(two), validation_scores(one)
    assert len(scores) == EPOCHS
    for found, wanted in zip(scores, expected, strict=True):
        assert found == pytest.approx(wanted, rel=1e-3, abs=1e-3)


def test_requeues_leave_no_trace(site: Site) -> None:
    run, uncut = site.result(asked_often), site.result(two_nodes)
    for rank in (0, 1):
        assert site.steps(run, rank) == site.steps(uncut, rank)
    assert_same_run(run, uncut)


def test_a_time_limit_leaves_no_trace(site: Site) -> None:
    run, uncut = site.result(short_of_time), site.result(one_process)
    assert site.steps(run) == site.steps(uncut)
    assert_same_run(run, uncut)


def test_a_job_that_cannot_be_requeued_says_what_to_type(site: Site) -> None:
    run, uncut = site.result(not_to_be_requeued), site.result(one_process)
    assert site.steps(run) == site.steps(uncut)
    assert_same_run(run, uncut)


def test_a_lost_node_costs_no_more_than_the_work_since_the_last_checkpoint(site: Site) -> None:
    run, uncut = site.result(lost_node), site.result(two_nodes)
    assert_same_run(run, uncut)
    for rank in (0, 1):
        done, expected = site.steps(run, rank), site.steps(uncut, rank)
        assert list(dict.fromkeys(done)) == expected
        assert len(done) <= len(expected) + STEPS


def test_a_lost_rank_ends_the_job_within_a_minute(site: Site) -> None:
    state, seconds, restarts = json.loads(site.result(lost_rank).read_text())
    assert (state, restarts) == ("FAILED", 0)
    assert seconds < 60


def test_folds_are_pooled_and_compared_when_all_are_done(site: Site) -> None:
    run = site.result(three_folds)
    held_out = [json.loads((run / f"fold-{fold}" / "split.json").read_text())["validation"] for fold in range(3)]
    with (run / "evaluation" / "scores.csv").open(newline="") as file:
        scored = {row["case"] for row in csv.DictReader(file)}
    assert scored == set().union(*held_out)
    assert len(scored) == sum(map(len, held_out)) == 6
    assert (run / "comparison" / "comparison.csv").is_file()
    steps = [json.loads(line)[0] for line in site.steps(run / "fold-1")]
    assert steps == list(range(1, 1 + 2 * STEPS * 2))


def test_an_element_trains_by_its_line(site: Site) -> None:
    text = (site.result(grid) / "config.yaml").read_text()
    assert "lr: 0.001" in text
    assert "seed_everything: 2" in text


def test_elements_fill_one_cache(site: Site) -> None:
    assert len(list(site.result(filled_cache).glob("BraTS*"))) == 6


def test_elements_and_tasks_share_the_cases(site: Site) -> None:
    cases = {path.name for path in (site.home / "cases").glob("BraTS*")}
    assert {path.name.removesuffix(".nii.gz") for path in site.result(shared_prediction).glob("*.nii.gz")} == cases
