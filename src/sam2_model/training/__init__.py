"""Training: imaginary microscopy, losses, and the loop that made `nano` and fine-tunes any variant.

Nothing here is needed to predict.
"""
