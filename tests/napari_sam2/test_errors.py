import pytest

from napari_sam2 import errors


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("PromptError", ValueError),
        ("FrameError", ValueError),
        ("ImageFileError", OSError),
        ("OptionError", ValueError),
        ("ModelError", RuntimeError),
        ("SessionError", ValueError),
    ],
)
def test_every_kind_is_caught_as_ours_and_as_the_builtin(name, builtin):
    kind = getattr(errors, name)
    assert issubclass(kind, errors.NapariSam2Error)
    assert issubclass(kind, builtin)
    assert str(kind("a sentence")) == "a sentence"
