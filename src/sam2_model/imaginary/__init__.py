"""Training `nano` from nothing: generated scenes, and the stages of its curriculum.

What is random takes a generator, and is the same for the same state of it.
"""
