"""Numbers and places of a run in words, the same in every report and table."""

import math

from brats_lightning.reports.run.history import Best
from brats_lightning.reports.scores import SHOWN

NONE = "–"
"""Stands for a number that there is not."""


def epoch_text(best: Best | None) -> str:
    """Counted from 1, as people do; the step where no epoch is known.

    Example:
        >>> epoch_text(Best(step=11, epoch=2.0, by="val/loss", value=0.5)), epoch_text(None)
        ('epoch 3', '–')
    """
    if best is None:
        return NONE
    return f"step {best.step + 1}" if math.isnan(best.epoch) else f"epoch {int(best.epoch) + 1}"


def number(value: float, score: str = "dice") -> str:
    """Three decimals, one of mm and ml, a dash for none.

    Example:
        >>> number(0.81249), number(4.06, "hd95_mm"), number(math.nan)
        ('0.812', '4.1', '–')
    """
    if math.isnan(value):
        return NONE
    return f"{value:.1f}" if score.endswith(("_mm", "_ml")) else f"{value:.3f}"


def many(count: int, what: str) -> str:
    """A number with its noun.

    Example:
        >>> many(1, "case"), many(2, "case")
        ('1 case', '2 cases')
    """
    return f"{count} {what}{'s' * (count != 1)}"


def in_words(name: str) -> str:
    """What a logged number is called by people.

    Example:
        >>> in_words("val/dice_mean_ET_ED_NCR"), in_words("val/dice_WT"), in_words("speed/waiting")
        ('mean Dice of ET, ED, NCR', 'Dice of WT', 'speed/waiting')
    """
    for score, said in SHOWN.items():
        if name.startswith(f"val/{score}_"):
            first, *rest = name.removeprefix(f"val/{score}_").split("_")
            return f"mean {said} of {', '.join(rest)}" if first == "mean" else f"{said} of {'_'.join([first, *rest])}"
    return {"val/loss": "validation loss"}.get(name, name)
