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


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError(), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("shapes do not match"), False),
        (ValueError("can't allocate memory"), False),
        (OSError(28, "No space left on device"), False),
    ],
)
def test_full_memory_is_recognised_by_what_is_said_of_it(error, is_memory):
    assert errors.is_out_of_memory(error) == is_memory
