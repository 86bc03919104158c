"""SAM 2 in PyTorch: Ravi et al. 2024, "SAM 2: Segment Anything in Images and Videos".

Axis letters used in the trailing shape comments:

===== ==========================================================
B     batch: images, prompts or objects
C     channels; `width` of the configuration unless said otherwise
Cm    channels of a spatial memory
H, W  height and width of the working image, in pixels
h, w  the same in tokens of the embedding: H / 16, W / 16
N, M  tokens of the frame, tokens of the memory
P, T  prompts or pointers, decoder tokens
===== ==========================================================
"""
