"""What a user who never sees the checkout gets."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_wheel_holds_weights_data_manifest_and_notices(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        for source in (ROOT / "src").rglob("*"):
            if source.is_file() and "__pycache__" not in source.parts:
                assert source.relative_to(ROOT / "src").as_posix() in names
        assert archive.read("napari_sam2/napari.yaml") == (ROOT / "napari.yaml").read_bytes()
        entry_points = next(name for name in names if name.endswith("entry_points.txt"))
        assert "napari_sam2:napari.yaml" in archive.read(entry_points).decode()
    assert any(name.endswith("THIRD_PARTY_NOTICES.md") for name in names)
    assert not any(name.startswith(("tests", "benchmarks", "docs", "training_runs")) for name in names)
