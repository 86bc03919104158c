"""What can go wrong in the model, as kinds a caller would treat differently."""

_LONGEST_SHOWN = 60


class Sam2Error(Exception):
    """Base of every error raised on purpose by `sam2_model`."""


class ConfigError(Sam2Error, ValueError):
    """A model, option or device was asked for that does not exist or cannot work."""


class CheckpointError(Sam2Error, ValueError):
    """A weight file is missing, damaged, unsafe, or belongs to another model."""


class DownloadError(Sam2Error, OSError):
    """Weights could not be fetched; nothing was left half-written."""


class PromptError(Sam2Error, ValueError):
    """A prompt has the wrong shape, lies outside the image, or contradicts another."""


class FrameError(Sam2Error, ValueError):
    """A frame does not exist, cannot be read, or has the wrong shape."""


def shown(value: object) -> str:
    """Return a value as a message shows it: never longer than a line, however large it is."""
    if isinstance(value, int) and abs(value) >= 10**20:
        return f"a number of about {int(value.bit_length() * 0.30103) + 1} digits"
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
