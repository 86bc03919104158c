"""The sentence in the panel, and the button that is beside it at times."""

import numpy as np
import pytest

from napari_sam2.widgets.sentence import SentenceLine
from napari_sam2.workbench.advice import Advice, Offer
from tests.napari_sam2.widgets.conftest import FRAMES, HEIGHT, WIDTH


@pytest.fixture
def line(qtbot):
    line = SentenceLine("the bench")
    qtbot.addWidget(line)
    return line


def test_a_sentence_alone_has_no_button(line):
    line.show_advice(Advice("Click each object once."))
    assert line.label.text() == "Click each object once."
    assert line.button.isHidden()


def test_what_is_offered_is_done_on_the_bench_as_often_as_it_is_clicked(line):
    done = []
    line.show_advice(Advice("Use it?", Offer("Use 'R&D'", "Segment it.", done.append)))
    assert not line.button.isHidden()
    assert line.button.text() == "Use 'R&&D'"  # Qt shows one
    assert line.button.toolTip() == "Segment it."
    line.button.click()
    line.button.click()
    assert done == ["the bench"] * 2
    line.show_advice(Advice("Used."))
    assert line.button.isHidden()
    line.button.click()
    assert len(done) == 2


def test_there_is_room_for_three_lines_whatever_is_said(line):
    line.resize(300, line.minimumHeight())
    assert line.minimumHeight() >= 3 * line.fontMetrics().lineSpacing()


def test_an_image_that_is_opened_meanwhile_is_used_by_a_click(dock, viewer):
    dock.click(2, 20, 30)
    viewer.add_image(np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8), contrast_limits=(0, 255), name="skin")
    dock.widget._refresh()
    assert dock.widget.sentence.label.text() == "The panel works on 'stack'. Use 'skin'?"
    dock.widget.sentence.button.click()
    assert dock.chosen_image.name == "skin"
    dock.widget._refresh()
    assert dock.widget.sentence.button.isHidden()
    assert dock.widget.sentence.label.text().startswith("Click each object once")


def test_the_panel_reads_on_by_itself_while_objects_are_still_compared(dock, qtbot, monkeypatch):
    dock.widget.propagation.threshold.setValue(0.1)
    dock.click(2, 20, 30)
    dock.new_object()
    dock.click(2, 20, 30)
    monkeypatch.setattr("napari_sam2.workbench.duplicates.MASKS_AT_ONCE", 2)
    dock.propagate()
    last = f"Objects 1 and 2 are the same on frames 0 to {FRAMES - 1}: delete one, or press X where it is not there."
    qtbot.waitUntil(lambda: dock.widget.sentence.label.text() == last)
