"""The part of a run's report about where it came from: when, on what machine, and from which code and data."""

from collections.abc import Mapping, Sequence

from brats_lightning.reports.html.page import Section
from brats_lightning.reports.html.parts import Html, facts, joined, paragraph, table
from brats_lightning.reports.run.facts import Start
from brats_lightning.reports.run.wandb import duration
from brats_lightning.reports.run.words import NONE


def made_with(*, starts: Sequence[Start], versions: Mapping[str, str], versions_here: Mapping[str, str],
              machine: Mapping[str, str], digests: Mapping[str, str]) -> Section:  # fmt: skip
    """When and on what the run was trained: starts, versions, machine, commit and digests."""
    parts = [_table(starts), paragraph("What follows is of the last start.")] if len(starts) > 1 else []
    began = {"started": starts[0].when} if len(starts) == 1 else {}
    if told := began | dict(machine):
        parts.append(facts(told))
    else:
        parts.append(paragraph("Machine and commit were not recorded with this run."))
    if versions:
        parts.append(facts(versions))
    else:
        parts.append(paragraph("Versions were not recorded with this run. This report was made with:"))
        parts.append(facts(versions_here))
    if digests:
        parts += [paragraph("SHA-256, to tell whether two runs had the same:"), facts(digests)]
    return Section("Made with", joined(*parts))


def _table(starts: Sequence[Start]) -> Html:
    """A row a start, as each may have had another machine and program."""
    rows = [
        [
            each.when,
            f"{each.from_step:,} – {each.steps:,}",
            duration(each.seconds),
            each.commit or NONE,
            each.versions.get("torch", NONE),
            each.machine.get("GPU") or "none",
        ]
        for each in starts
    ]
    columns = ["started", "steps", "time", "git commit", "torch", "GPU"]
    return table(columns, rows, words=1)
