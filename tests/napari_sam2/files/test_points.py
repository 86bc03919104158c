"""Tables of points, as programs save them."""

import pytest

from napari_sam2.files.points import read_points


@pytest.mark.parametrize(
    "text",
    [
        "y,x\n1.5,2\n30,4e1\n",
        "\ufeffx,y,name\r\n2,1.5,a\r\n40,30,b\r\n",
        'index,axis-0,axis-1\n0,1.5,2\n1,"30",40\n',
        "object_id,frame,area_in_labels_px,centroid_y_px,centroid_x_px\n1,0,9,1.5,2\n2,0,9,30,40\n",
    ],
    ids=["y and x", "x first, with a mark of its encoding", "napari", "an export"],
)
def test_rows_and_columns_are_found_by_name(tmp_path, text):
    path = tmp_path / "points.csv"
    path.write_text(text, encoding="utf-8", newline="")
    assert read_points(path).tolist() == [[1.5, 2], [30, 40]]
