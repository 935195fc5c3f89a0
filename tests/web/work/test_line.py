from threading import Thread

from brats_lightning.web.work.line import Line, Turn


def works(line: Line) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    while line.cases("segment") or line.cases("compare") or line.cases("report") or line.cases("radiomics"):
        turn = line.take()
        assert turn is not None
        found.append((turn.case, turn.work))
        line.finished(turn)
    return found


def test_segmentations_come_first_and_each_kind_of_work_in_its_order() -> None:
    line = Line()
    for case, work in (("a", "radiomics"), ("a", "report"), ("b", "segment"), ("a", "compare"), ("c", "segment")):
        line.add(case, work)  # type: ignore[arg-type]
    line.add("b", "segment")  # waits already

    assert line.cases("segment") == ["b", "c"]
    assert works(line) == [("b", "segment"), ("c", "segment"), ("a", "compare"), ("a", "report"), ("a", "radiomics")]


def test_no_two_works_on_a_case_are_done_at_once() -> None:
    line = Line()
    line.add("a", "segment")
    line.add("a", "report")
    line.add("b", "radiomics")

    first, second = line.take(), line.take()

    assert first is not None
    assert second is not None
    assert (second.case, second.work) == ("b", "radiomics")
    line.finished(first)
    assert line.take() == Turn(2, 1, "a", "report")


def test_what_is_dropped_neither_waits_nor_goes_on() -> None:
    line = Line()
    for work in ("segment", "report"):
        line.add("a", work)
    line.add("b", "segment")
    turn = line.take()
    assert turn is not None

    line.drop("a")

    assert turn.stop.is_set()
    line.finished(turn)
    assert works(line) == [("b", "segment")]


def test_a_closed_line_ends_what_is_done_and_wakes_who_waits() -> None:
    line = Line()
    line.add("a", "segment")
    turn = line.take()
    assert turn is not None
    got: list[Turn | None] = []
    waiting = Thread(target=lambda: got.append(line.take()))
    waiting.start()

    line.close()
    waiting.join(5)

    assert got == [None]
    assert turn.stop.is_set()


def test_turns_are_those_of_the_kinds_that_are_asked_for() -> None:
    line = Line()
    line.add("a", "segment")
    line.add("b", "report")
    turn = line.take(("report", "radiomics"))
    assert turn is not None
    assert (turn.case, turn.work) == ("b", "report")
