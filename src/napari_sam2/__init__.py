"""Segment microscopy with SAM 2: prompts in, labels and confidences out. Importing this loads neither torch nor Qt."""

import lazy_loader

__version__ = "0.1.0"

# Public names are imported when they are first used. They stand in __init__.pyi.
__getattr__, _, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = [*_names, "__version__"]


def __dir__() -> list[str]:
    return __all__
