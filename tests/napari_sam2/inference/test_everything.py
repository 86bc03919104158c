"""Where tiles lie, and that what is found is where it is."""

import numpy as np
import pytest

from napari_sam2.inference.everything import CLOSEST, HALO_PX, TILE_PX, tiles, zooms


def window(height, width, top=0, left=0):
    return slice(top, top + height), slice(left, left + width)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (256, 256), (300, 2000), (3000, 40), (1111, 1234)])
@pytest.mark.parametrize("zoom", [2.0, 1.0, 0.25])
@pytest.mark.parametrize("corner", [(0, 0), (50, 7)])
def test_the_own_parts_of_tiles_cover_the_window_once(height, width, zoom, corner):
    searched = window(height, width, *corner)
    count = np.zeros((height, width), int)
    for tile in tiles(searched, zoom):
        rows, columns = (
            slice(own.start - part.start, own.stop - part.start) for own, part in zip(tile.own, searched, strict=True)
        )
        count[rows, columns] += 1
    assert (count == 1).all()


@pytest.mark.parametrize("zoom", [2.0, 0.5])
def test_a_tile_sees_its_halo_on_every_side_that_has_a_neighbour(zoom):
    searched = window(3000, 2900)
    for tile in tiles(searched, zoom):
        for seen, own, part in zip(tile.window, tile.own, searched, strict=True):
            assert (seen.stop - seen.start) * zoom <= TILE_PX
            assert part.start <= seen.start <= own.start < own.stop <= seen.stop <= part.stop
            for inner, outer, end in ((own.start, seen.start, part.start), (own.stop, seen.stop, part.stop)):
                assert outer == end or abs(inner - outer) * zoom >= HALO_PX - 1


@pytest.mark.parametrize(
    ("side", "expected"),
    [(16, (1.0, 2.0)), (256, (1.0, 2.0)), (512, (1.0, 2.0)), (513, (0.5, 1.0, 2.0)), (4000, (0.125, 0.25, 0.5, 1, 2))],
)
def test_looks_go_from_the_whole_in_one_tile_to_the_closest(side, expected):
    found = zooms(window(side // 2, side))
    assert found == expected
    assert found[-1] == CLOSEST
    assert len(tiles(window(side // 2, side), found[0])) == 1
