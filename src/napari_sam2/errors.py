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


class SmallObjectWarning(UserWarning):
    """Objects are so small at the model's working size that their masks cannot be good."""
