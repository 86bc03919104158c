import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam2.errors import ImageFileError
from napari_sam2.files.strict_json import parse_json, read_limited


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 1}}', "the key 'c' occurs twice"),
        ("[1, NaN]", "the number NaN, which is not finite"),
        ("-Infinity", "the number -Infinity"),
        ("1e400", "the number 1e400, which is not finite"),
        ("1" * 31, "a number of 31 digits"),
        ("-" + "9" * 5000, "a number of 5001 digits"),
        ("[" * 10**5, "nested too deeply"),
        ('{"a": ' * 10**5, "nested too deeply"),
        (b"\xff\xfe[\0", "no text in UTF-8, from byte 0 on"),
        (b"", "Expecting value"),
    ],
)
def test_what_other_readers_may_read_otherwise_is_refused(text, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        parse_json(text.encode() if isinstance(text, str) else text)
    assert len(str(caught.value)) < 200


def test_a_byte_order_mark_is_no_part_of_the_text():
    assert parse_json(b"\xef\xbb\xbf[1]") == [1]


numbers = st.integers(-(10**28), 10**28) | st.floats(allow_nan=False, allow_infinity=False)
documents = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(deadline=None)
@given(documents)
def test_whatever_python_writes_is_read_back(document):
    assert parse_json(json.dumps(document).encode()) == document


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60) | st.text('[]{}":,0123456789.eE-+truefalsnNI\\u ', max_size=40).map(str.encode))
def test_nothing_but_a_value_error_leaves_whatever_is_given(content):
    try:
        parse_json(content)
    except ValueError:
        return


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name, message in (("pipe", "is no file"), (".", "is no file"), ("none", "There is no file"), ("loop", "loop")):
        with pytest.raises(ImageFileError, match=message):
            read_limited(tmp_path / name)


def test_a_file_is_read_up_to_its_limit(tmp_path):
    (tmp_path / "a.json").write_bytes(b"12345")
    assert read_limited(tmp_path / "a.json", 5) == b"12345"
    with pytest.raises(ImageFileError, match="larger than the 4 bytes"):
        read_limited(tmp_path / "a.json", 4)
