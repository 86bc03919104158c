"""A shell in a folder with files to work on; the model is the fake."""

import pytest
import tifffile

from napari_sam2.cli.verbs import main
from napari_sam2.files.prompts import PromptFile, write_prompts
from napari_sam2.inference import sam2
from napari_sam2.labels.prompts import prompts_from_labels
from napari_sam2.prompts import PointPrompt, PromptSet


class Shell:
    """Run a command in a folder and keep what it said."""

    def __init__(self, folder, capsys):
        self.folder = folder
        self.capsys = capsys
        self.out = self.err = ""

    def run(self, command, *more):
        try:
            status = main([*command.split(), *map(str, more)])
        except SystemExit as end:
            status = end.code
        self.out, self.err = self.capsys.readouterr()
        return status

    def files(self):
        return {path.name: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture
def shell(tmp_path, monkeypatch, capsys, fake, toy_movie, toy_labels):
    """A folder with a stack, an image of it, and prompts for both; the model is the fake."""
    monkeypatch.chdir(tmp_path)
    loaded = []

    def load_predictor(model, *, device="auto", image_size="auto", framing=None, drops_islands=True):
        loaded.append((model, device, image_size) if framing is None else (model, device, image_size, framing))
        return fake

    monkeypatch.setattr(sam2, "load_predictor", load_predictor)
    tifffile.imwrite("stack.tif", toy_movie, imagej=True, metadata={"axes": "TYX"})
    tifffile.imwrite("image.tif", toy_movie[0], imagej=True)
    tifffile.imwrite("labels.tif", toy_labels)
    write_prompts("prompts.json", PromptFile(PromptSet(prompts_from_labels(toy_labels, frames=2))))
    write_prompts("click.json", PromptFile(PromptSet([PointPrompt(7, 0, 2, 1)])))
    shell = Shell(tmp_path, capsys)
    shell.loaded = loaded
    return shell
