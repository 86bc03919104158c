"""JSON of files that anybody may have written: no key twice, no number without end, no depth without end."""

import json
import math

_MOST_DIGITS = 30


def parse_json(text: str | bytes) -> object:
    """Return the value of a JSON document.

    Python's own reader keeps the last of two equal keys, so that two programs could read two things in one file.

    Parameters
    ----------
    text : str or bytes
        Bytes in UTF-8, with or without a byte order mark.

    Raises
    ------
    ValueError
        If it is not JSON, names a key twice, holds a number that is not finite or of more than 30 digits, or is nested
        too deeply. The message names the fault in a few words.
    """
    try:
        return json.loads(
            text if isinstance(text, str) else text.decode("utf-8-sig"),
            object_pairs_hook=_once,
            parse_int=_whole_number,
            parse_float=_finite_number,
            parse_constant=_finite_number,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no text in UTF-8, from byte {error.start} on") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields: dict[str, object] = {}
    for name, value in pairs:
        if name in fields:
            raise ValueError(f"the key {name[:80]!r} occurs twice")
        fields[name] = value
    return fields


def _whole_number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"it holds a number of {len(digits)} digits")
    return int(digits)


def _finite_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"it holds the number {text[:80]}, which is not finite")
    return number
