"""What may import what."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(code):
    """Run a program in a fresh interpreter that finds the packages where this one does."""
    found = os.pathsep.join(path for path in sys.path if path)
    environment = os.environ | {"PYTHONPATH": found}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("imported", "unwanted"),
    [
        ("napari_sam2", "torch napari qtpy magicgui sam2_model pandas scipy"),
        (
            "napari_sam2.tracking.stack, napari_sam2.tracking.propagation, napari_sam2.inference.background",
            "torch napari qtpy magicgui sam2_model",
        ),
        ("napari_sam2.files.prompts, napari_sam2.files.label_tiff", "torch napari qtpy magicgui sam2_model"),
        (
            "napari_sam2.sessions.storage, napari_sam2.sessions.replay, napari_sam2.sessions.sources",
            "torch napari qtpy magicgui sam2_model",
        ),
        ("napari_sam2.workspace.choices", "torch napari qtpy magicgui"),
        ("napari_sam2.cli.verbs", "torch napari qtpy magicgui sam2_model numpy"),
        ("napari_sam2.training.finetune", "torch napari qtpy magicgui sam2_model pandas"),
        ("napari_sam2.sample_data", "torch napari qtpy magicgui"),
        ("sam2_model, sam2_model.video.predictor, sam2_model.image_predictor", "napari napari_sam2 qtpy magicgui"),
    ],
)
def test_importing_does_not_load(imported, unwanted):
    code = f"import sys, {imported}; print(*[name for name in {unwanted.split()} if name in sys.modules])"
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == []


def test_refusing_a_file_does_not_wait_for_torch():
    code = (
        "import sys; from napari_sam2.cli.verbs import main; "
        "status = main('propagate none.tif --prompts none.json --output none/none.tif'.split()); "
        "print(status, 'torch' in sys.modules)"
    )
    assert run(code).stdout.split() == ["1", "False"]


def test_the_contracts_are_kept():
    pytest.importorskip("importlinter")
    done = run("import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout
