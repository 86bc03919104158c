"""What the status line says, without work and with it."""

import pytest

from napari_sam2.workbench.commands import NEXT_DOUBTFUL
from napari_sam2.workbench.facts import FactsReader
from napari_sam2.workbench.sentences import status_advice
from tests.napari_sam2.bench import Room


def sentence(room):
    return status_advice(room.bench, FactsReader()).sentence


@pytest.fixture
def room():
    room = Room("stack")
    room.set_choices(threshold=0.1)
    yield room
    room.close()


def test_without_an_image_it_says_how_to_open_one():
    room = Room()
    assert sentence(room).startswith("Open an image to begin")
    room.close()


def test_on_an_image_that_cannot_be_worked_on_it_says_why(room):
    other = Room.workbench(room)
    assert status_advice(other, FactsReader()).sentence == (
        "Image 'stack' is being worked on in another SAM 2 panel of this window."
    )
    other.close()


def test_the_way_of_a_stack_is_told_step_by_step(room):
    said = [sentence(room)]
    room.click(2, 6, 6)
    said.append(sentence(room))
    room.propagate()
    room.settle()
    said.append(sentence(room))
    room.click(4, 6, 8)
    said.append(sentence(room))
    room.propagate()
    room.settle()
    room.commit()
    room.settle()
    said.append(sentence(room))
    assert [" ".join(one.split()[:3]) for one in said] == [
        "Click each object",
        "Click the next",
        "All objects are",
        "Object 1 has",
        "1 object is",
    ]


def test_next_doubtful_says_why_it_went_there_or_that_there_is_none(room):
    room.click(2, 6, 6)
    room.bench.run(NEXT_DOUBTFUL)
    assert sentence(room) == "No object is less certain than 0.10 on any frame."
    room.set_choices(threshold=0.99)
    room.bench.run(NEXT_DOUBTFUL)
    assert sentence(room) == (
        f"Object 1 is doubtful on frame 2 ({room.confidence(1, 2):.2f}): click to correct it, Y if it is right."
    )
