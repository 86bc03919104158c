"""JSON of strangers: what it says, or a sentence."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam2_model.strict_json import parse_json


@pytest.mark.parametrize("text", ['{"a": [1, 2.5, null, true, "x"]}', b'{"a": {}}', "[]", "7"])
def test_json_is_read_as_python_reads_it(text):
    assert parse_json(text) == json.loads(text)


@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1, "a": 2}', "the key 'a' occurs twice"),
        ('{"a": 1, "b": {"c": 1, "c": 1}}', "the key 'c' occurs twice"),
        ("[1, NaN]", "the number NaN, which is not finite"),
        ("-Infinity", "the number -Infinity"),
        ("1e400", "the number 1e400, which is not finite"),
        ("1" * 31, "a number of 31 digits"),
        ("-" + "9" * 5000, "a number of 5001 digits"),
        ("[" * 10**5, "nested too deeply"),
        ('{"a": ' * 10**5, "nested too deeply"),
        ("{", "Expecting"),
        ("", "Expecting value"),
    ],
)
def test_what_other_readers_may_read_otherwise_is_refused(text, reason, as_bytes):
    with pytest.raises(ValueError, match=reason) as caught:
        parse_json(text.encode() if as_bytes else text)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(("content", "first"), [(b"\xff\xfe[\0", 0), (b'{"a": "\xff"}', 7)])
def test_what_is_no_text_is_refused(content, first):
    with pytest.raises(ValueError, match=f"no text in UTF-8, from byte {first} on"):
        parse_json(content)


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
@given(st.binary(max_size=60) | st.text('[]{}":,0123456789.eE-+truefalsnNI\\u ', max_size=40))
def test_nothing_but_a_value_error_leaves_whatever_is_given(content):
    try:
        parse_json(content)
    except ValueError:
        return
