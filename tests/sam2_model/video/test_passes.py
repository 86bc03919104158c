"""Which frames are visited for which objects; the plugin's tests hold more cases, through its own planning."""

import subprocess
import sys

import pytest

from sam2_model.memory_bank import Direction
from sam2_model.video.passes import plan_visits

FORWARD, BACKWARD = Direction.FORWARD, Direction.BACKWARD


@pytest.mark.parametrize(
    ("origins", "directions", "bounds", "expected"),
    [
        ({1: 2}, [FORWARD], (0, 3), "2>1 3>1"),
        ({1: 2}, [BACKWARD], (0, 3), "2<1 1<1 0<1"),
        ({1: 2}, [FORWARD, BACKWARD], (0, 3), "2>1 3>1 1<1 0<1"),
        ({1: 2}, [BACKWARD, FORWARD], (0, 3), "2<1 1<1 0<1 3>1"),
        ({7: 1, 3: 2}, [FORWARD], (0, 3), "1>7 2>73 3>73"),
        ({1: 0, 2: 3}, [FORWARD, BACKWARD], (2, 2), "(0>1) (1>1) 2>1 2<2"),
        ({1: 3}, [FORWARD], (0, 1), ""),
        ({}, [FORWARD, BACKWARD], (0, 3), ""),
    ],
)
def test_the_first_pass_visits_the_origins_and_the_others_begin_next_to_them(origins, directions, bounds, expected):
    visits = plan_visits(origins, directions, *bounds)
    written = [
        f"{'' if v.is_reported else '('}{v.frame}{'>' if v.direction is FORWARD else '<'}"
        f"{''.join(map(str, v.object_ids))}{'' if v.is_reported else ')'}"
        for v in visits
    ]
    assert " ".join(written) == expected


def test_planning_needs_no_torch():
    code = "import sys, sam2_model.video.passes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
