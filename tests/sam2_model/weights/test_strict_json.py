"""JSON of strangers: what it says, or a sentence."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam2_model.weights.strict_json import parse_json


@pytest.mark.parametrize("text", ['{"a": [1, 2.5, null, true, "x"]}', b'{"a": {}}', "[]", "7"])
def test_json_is_read_as_python_reads_it(text):
    assert parse_json(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1, "a": 2}', "'a' occurs twice"),
        ('{"b": {"a": 1, "a": 1}}', "'a' occurs twice"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ("1" * 31, "31 digits"),
        ("-" + "1" * 5000, "digits"),
        (b'{"a": "\xff"}', "decode"),
        ("{", "Expecting"),
        ("", "Expecting"),
    ],
)
def test_what_can_be_read_in_two_ways_or_without_end_is_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_json(text)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.text(alphabet='{}[]",:0123e-\\u na', max_size=60)))
def test_nothing_but_a_value_error_leaves_it(text):
    try:
        parse_json(text)
    except ValueError as error:
        assert str(error)  # noqa: PT017
