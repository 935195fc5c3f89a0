from pathlib import Path
from typing import Any

import pytest

from brats_lightning.errors import BratsError
from brats_lightning.reports.case import report as case_report
from brats_lightning.reports.report import report
from brats_lightning.reports.run import report as run_report

CALLS = {"run": {"run": Path("runs/a")}, "case": {"case": Path("c"), "prediction": Path("p")}}


@pytest.mark.parametrize("kind", ["run", "case"])
def test_each_kind_has_its_report(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []
    for name, module in (("run", run_report), ("case", case_report)):

        def answer(what: Path, _name: str = name, **how: Any) -> Path:
            asked.append((_name, {"what": what, **how}))
            return Path(f"{_name}[bold].html")

        monkeypatch.setattr(module, f"{name}_report", answer)
    report(**CALLS[kind], output=Path("out.html"))  # type: ignore[arg-type]
    ((called, how),) = asked
    assert (called, how["what"], how["output"]) == (kind, CALLS[kind][kind], Path("out.html"))
    assert capsys.readouterr().out == f"report: {kind}[bold].html\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "expected a run, .* or a case with its segmentation, .*; found neither"),
        ({"case": Path("c")}, "found --case alone"),
        ({"prediction": Path("p"), "reference": Path("r")}, "found --prediction, --reference alone"),
        ({"run": Path("a"), "case": Path("c")}, "--case is for the report of a case, a for that of a run"),
        ({"run": Path("a"), "edition": "2021"}, "--edition is for the report of a case"),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BratsError, match=sentence):
        report(**arguments)
