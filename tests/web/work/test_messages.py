from multiprocessing import Pipe

import pytest

from brats_lightning.web.work.messages import Outcome, Progress, Stop, asked, said, send


def test_messages_arrive_as_they_were_sent() -> None:
    one, other = Pipe()
    for message in (Progress(stage="Network", percent=12.5), Outcome(results=["mask.nii.gz", "volumes/t1n.nii.gz"])):
        send(one, message)
        assert said(other) == message
    send(other, Stop())
    assert asked(one) == Stop()


@pytest.mark.parametrize(
    "name", ["../case.json", "/etc/passwd", "a/b/c.png", "mask", "volumes/..png", "x.png/", "mask.nii.gz\n"]
)
def test_no_other_name_of_a_result_is_taken_from_a_worker(name: str) -> None:
    one, other = Pipe()
    one.send_bytes(Outcome.model_construct(results=[name]).model_dump_json().encode())
    with pytest.raises(ValueError, match="results"):
        said(other)


@pytest.mark.parametrize("content", [b"", b"\x80\x05.", b'{"tell": "job"}', b"[]"])
def test_nonsense_from_a_worker_is_no_message(content: bytes) -> None:
    one, other = Pipe()
    one.send_bytes(content)
    with pytest.raises(ValueError, match="validation error"):
        said(other)
