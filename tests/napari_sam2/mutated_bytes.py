"""Valid files with a few bytes changed, as hypothesis strategies."""

import re

from hypothesis import strategies as st

NUMBERS = (b"0", b"-1", b"3", b"9" * 20, b"9" * 400, b"1e400", b"1000000000", b"nan", b"[[[[", b"\xff", b'"x"', b"")
WORDS = tuple(
    number.to_bytes(size, "little") for size in (2, 4) for number in (0, 1, 5, 6, 7, 8, 32773, 2 ** (8 * size) - 1)
)


@st.composite
def mutated(draw, whole):
    """One of some valid files, changed in one to four places; most changes are near its beginning."""
    data = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(1, 4))):
        reach = draw(st.sampled_from([64, 700, 10**9]))
        place = draw(st.integers(0, max(min(len(data), reach) - 1, 0)))
        kind = draw(st.sampled_from(["byte", "word", "number", "cut", "drop", "insert"]))
        if kind == "byte":
            data[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
        elif kind == "word":
            word = draw(st.sampled_from(WORDS))
            data[place : place + len(word)] = word
        elif kind == "number":
            numbers = [found.span() for found in re.finditer(rb"\d+", bytes(data[:2000]))]
            if numbers:
                first, last = draw(st.sampled_from(numbers))
                data[first:last] = draw(st.sampled_from(NUMBERS))
        elif kind == "cut":
            del data[place:]
        elif kind == "drop":
            del data[place : place + draw(st.integers(1, 40))]
        else:
            data[place:place] = draw(st.binary(max_size=40))
    return bytes(data)
