"""`brats report`: one HTML file about a run or about a case, which needs no server and no network."""

from pathlib import Path

from rich.console import Console

from brats_lightning.errors import BratsError


def report(
    run: Path | None = None,
    *,
    case: Path | None = None,
    prediction: Path | None = None,
    reference: Path | None = None,
    output: Path | None = None,
    edition: str | None = None,
    prediction_edition: str | None = None,
) -> None:
    """Write a report of a run, or of one case with its segmentation: an HTML file that needs nothing beside it.

    Args:
        run: Folder of a run, such as runs/unet3d.
        case: Folder of a case, for a report of this case instead.
        prediction: Label map of the case, or the folder of `brats predict` that has it.
        reference: Label map to compare with; null takes that of the case, if it has one.
        output: HTML file; null writes report/report.html into the run's folder, or one named after the case.
        edition: Edition whose label values the case's reference holds, where names and values do not tell.
        prediction_edition: The same for the prediction, or internal; null takes what `brats predict` has recorded.

    Raises:
        BratsError: Arguments of both kinds or of none, or what they name cannot be read.
    """
    of_a_case = {
        "--case": case, "--prediction": prediction, "--reference": reference, "--edition": edition,
        "--prediction_edition": prediction_edition,
    }  # fmt: skip
    given = [name for name, value in of_a_case.items() if value is not None]
    if run is not None:
        if given:
            raise BratsError(
                f"{', '.join(given)} is for the report of a case, {run} for that of a run: give one of them"
            )
        from brats_lightning.reports.run.report import run_report  # noqa: PLC0415 - seconds that the other needs not

        written = run_report(run, output=output)
    elif case is None or prediction is None:
        found = f"found {', '.join(given)} alone" if given else "found neither"
        raise BratsError(
            "expected a run, as in brats report runs/unet3d, or a case with its segmentation, as in "
            f"brats report --case DIR --prediction FILE; {found}"
        )
    else:
        from brats_lightning.reports.case.report import case_report  # noqa: PLC0415

        written = case_report(
            case, prediction=prediction, reference=reference, output=output, edition=edition,
            prediction_edition=prediction_edition,
        )  # fmt: skip
    Console(markup=False, emoji=False, highlight=False).print(f"report: {written}", soft_wrap=True)
