"""One process of several: scores its share of the cases and writes what `compute` gives.

Usage: score_on_rank.py RANK PROCESSES RENDEZVOUS RESULT
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from brats_lightning.metrics.region_scores import RegionScores

CASES = 7


def update(metric: RegionScores, number: int) -> None:
    """Score the case of this number, a batch of one."""
    generator = np.random.default_rng(number)
    prediction, reference = torch.from_numpy(generator.integers(0, 4, (2, 1, 6, 7, 8)))
    spacing_mm = torch.tensor([[1.0, 0.9, 1.0 + number]])
    metric.update(prediction, reference, spacing_mm=spacing_mm, cases=[f"case-{number}"])


def main(rank: int, processes: int, rendezvous: str, result: Path) -> None:
    """Take every n-th case, the last process case 0 once more, as a distributed sampler pads."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=processes)
    metric = RegionScores()
    for number in range(rank, CASES, processes):
        update(metric, number)
    if rank == processes - 1:
        update(metric, 0)
    before = sorted(metric.rows)
    means = metric.compute()
    # Only one process sees a case again: another that answered from memory would leave it waiting.
    if rank == 0:
        update(metric, 0)
    again = metric.compute()
    result.write_text(json.dumps({"before": before, "means": means, "again": again, "rows": metric.rows}))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
