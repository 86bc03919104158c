"""SAM 2 on a stack of frames: its memory, its state, its predictor.

How prompts and memories meet is a policy: `repaired` is the default, `reference` repeats the published predictor. They
differ in methods of the same names: what an answer starts from (`answer`), where it is kept and what is left when it is
taken back (`store_answer`, `remove_answer`), what a visited frame recalls (`recalls`), for how long its memory is kept
(`store_followed`), and which frames a propagation visits (`visits`).
"""
