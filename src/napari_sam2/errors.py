"""What can go wrong above the model, as kinds a caller would treat differently."""


class NapariSam2Error(Exception):
    """Base of every error raised on purpose by `napari_sam2`."""


class PromptError(NapariSam2Error, ValueError):
    """A prompt is malformed, lies outside the image, or contradicts another."""


class FrameError(NapariSam2Error, ValueError):
    """An image or stack, or one of its frames, cannot be used."""


class ImageFileError(NapariSam2Error, OSError):
    """A file is missing, unreadable, unsupported, in the way, or does not fit on the disk."""


class OptionError(NapariSam2Error, ValueError):
    """An option has a value that does not exist or does not fit the data."""


class ModelError(NapariSam2Error, RuntimeError):
    """A model cannot be found, loaded or run."""


class SessionError(NapariSam2Error, ValueError):
    """A saved session cannot be restored or replayed."""


_ALLOCATORS_SAY = (
    "can't allocate memory",  # torch on the CPU
    "not enough memory",  # the same on Windows
    "out of memory",  # CUDA and MPS
    "alloc_failed",  # cuBLAS and cuDNN
    "bad_alloc",  # C++
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that there is no memory left, in the words of Python or torch on any device.

    Torch has no kind of error of its own for this on the CPU, and several on graphics cards.
    """
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _ALLOCATORS_SAY)


class SmallObjectWarning(UserWarning):
    """Objects are so small at the model's working size that their masks cannot be good."""


class BinaryMaskWarning(UserWarning):
    """Labels have one id on several separate objects, as a mask of foreground and background has."""
