"""JSON of files that anybody may have written: no key twice, no number without end, no depth without end."""

import json

from sam2_model.errors import shown

_MOST_DIGITS = 30


def parse_json(text: str | bytes) -> object:
    """Return what JSON text says.

    Python's own reader keeps the last of two equal keys, so that two programs could read two things in one file.

    Raises
    ------
    ValueError
        If it is not JSON in UTF-8, names a key twice, holds a whole number of more than 30 digits, or is nested too
        deeply. The message names the fault without its circumstances.
    """
    try:
        decoded = text if isinstance(text, str) else text.decode("utf-8")
        return json.loads(decoded, object_pairs_hook=_once, parse_int=_whole_number)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields: dict[str, object] = {}
    for name, value in pairs:
        if name in fields:
            raise ValueError(f"the key {shown(name)} occurs twice")
        fields[name] = value
    return fields


def _whole_number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"it holds a number of {len(digits)} digits")
    return int(digits)
