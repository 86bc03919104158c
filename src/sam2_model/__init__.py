"""SAM 2 in PyTorch: Ravi et al. 2024, "SAM 2: Segment Anything in Images and Videos".

Axis letters used in the trailing shape comments:

===== ==========================================================
B     batch: images, prompts or objects
C     channels; `width` of the configuration, where nothing else is stated
Cm    channels of a spatial memory
H, W  height and width of the working image, in pixels
h, w  the same in tokens of the embedding: H / 16, W / 16
N, M  tokens of the frame, tokens of the memory
P, T  prompts or pointers, decoder tokens
===== ==========================================================
"""

import lazy_loader

# Public names, in __init__.pyi, are imported when they are first used: the registry can be read without torch.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
