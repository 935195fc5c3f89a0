"""Where pictures of cases lie in a run's folder."""

from pathlib import Path

FIGURES, VALIDATION = "figures", "validation"
"""Folder of a run's pictures, and that in it of what `ValidationPictures` draws during training."""


def pictures_of(scores: Path) -> Path:
    """The folder of the pictures that belong to a file of scores.

    Example:
        >>> pictures_of(Path("runs/unet3d/scores_test.csv")).as_posix()
        'runs/unet3d/figures/scores_test'
    """
    return scores.parent / FIGURES / scores.stem


def remove_pictures(folder: Path) -> None:
    """Remove the pictures of earlier scores, whose network was another one; what else is there stays."""
    for path in folder.glob("*.png"):
        path.unlink(missing_ok=True)
