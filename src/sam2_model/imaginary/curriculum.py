"""What `nano` is taught when: a curriculum as a table."""

from sam2_model.imaginary.matching import match_memory
from sam2_model.imaginary.scene_batches import SceneStage
from sam2_model.imaginary.scenes import FAMILIES, SceneOptions
from sam2_model.training.stages import Load
from sam2_model.training.steps import Interaction


def _loads(sizes: str) -> tuple[Load, ...]:
    """Return the loads of a stage: side in pixels x images x objects, and x frames where they are clips."""
    return tuple(Load(*map(int, size.split("x"))) for size in sizes.split())


CURRICULUM: tuple[SceneStage, ...] = (
    SceneStage(
        "large objects",
        1350,
        6e-4,
        _loads("128x4x12 192x3x12 256x2x12 384x1x16"),
        scenes=SceneOptions(radius_px=(9.0, 100.0)),
    ),
    SceneStage(
        "prompts", 650, 7e-4, _loads("128x4x12 192x3x12 256x2x12 384x1x16"), scenes=SceneOptions(radius_px=(7.0, 100.0))
    ),
    SceneStage(
        "memory, still",
        400,
        5e-4,
        _loads("128x2x12x3 128x2x12x3 128x4x12"),
        trunk_rate=0.1,
        user=Interaction(mask_prompts=1.0, second_prompts=0.0, true_memories=0.5),
        scenes=SceneOptions(pace=0.2, sections=0.3, radius_px=(9.0, 100.0)),
    ),
    SceneStage(
        "joint",
        2200,
        6e-4,
        _loads("128x4x12 192x3x12 256x2x12 384x1x16 128x2x12x4 128x2x10x6 192x1x12x4 256x1x8x4"),
        user=Interaction(mask_prompts=0.7),
        scenes=SceneOptions(radius_px=(6.0, 100.0)),
    ),
    SceneStage(
        "fine outlines",
        450,
        1.5e-4,
        _loads("256x1x10x5 192x1x10x6 256x2x12 512x1x16"),
        scenes=SceneOptions(radius_px=(5.0, 150.0)),
    ),
    SceneStage(
        "wide fields",
        1650,
        4e-4,
        _loads("256x2x12 384x1x16 512x1x16 512x1x20 256x1x8x4 192x1x10x6 384x1x10x3"),
        scenes=SceneOptions(radius_px=(5.0, 150.0)),
    ),
    SceneStage(
        "finish",
        1400,
        1.5e-4,
        _loads("256x2x12 512x1x20 512x1x16 192x1x10x7 256x1x10x5"),
        scenes=SceneOptions(radius_px=(5.0, 150.0)),
    ),
    SceneStage(
        "small objects",
        600,
        1e-4,
        _loads("512x1x20 512x1x24 384x1x20 256x2x12 192x1x10x6"),
        user=Interaction(boxes=0.6),
        scenes=SceneOptions(radius_px=(6.0, 45.0)),
    ),
    SceneStage(
        "neighbours",
        2250,
        4e-4,
        _loads("256x2x14 384x1x24 512x1x32 256x1x8x4 192x1x10x6 384x1x8x3 512x1x6x3"),
        warm_up=100,
        user=Interaction(corrections=3),
        scenes=SceneOptions(radius_px=(5.0, 150.0)),
    ),
    SceneStage(
        "boxes",
        420,
        1.2e-4,
        _loads("256x2x14 384x1x24 512x1x24 256x1x8x4"),
        warm_up=20,
        user=Interaction(boxes=0.7),
        scenes=SceneOptions(radius_px=(6.0, 60.0)),
    ),
    SceneStage(
        "motion",
        1000,
        5e-4,
        _loads("128x3x8x4 192x1x10x5 256x1x8x4 256x1x8x4 256x2x16 384x1x24"),
        trunk_rate=0.4,
        user=Interaction(boxes=0.6, mask_prompts=0.7),
        scenes=SceneOptions(radius_px=(5.0, 120.0), sections=0.35, pace=1.4),
        prepare=match_memory,
    ),
    SceneStage(
        "together",
        403,
        4e-4,
        _loads("256x2x16 256x2x16 384x1x28 512x1x32 128x2x8x6 192x1x10x5 256x1x8x4 256x1x8x5 384x1x8x3"),
        user=Interaction(boxes=0.6),
        scenes=SceneOptions(radius_px=(5.0, 150.0), sections=0.35, drift_px=5.0),
    ),
    SceneStage(
        "masks and fields",
        949,
        4e-4,
        _loads("256x2x16 256x2x16 384x1x24 512x1x20 128x2x8x6 192x1x10x5 256x1x8x4 256x1x6x5 384x1x6x3"),
        warm_up=100,
        user=Interaction(boxes=0.55, mask_prompts=0.7),
        scenes=SceneOptions(radius_px=(5.0, 256.0), sections=0.4, drift_px=4.0),
    ),
    SceneStage(
        "many followed",
        589,
        3.4e-4,
        _loads("256x2x16 256x2x16 384x1x24 512x1x20 128x3x8x5 128x3x8x5 128x2x8x7 192x2x8x4 256x1x8x4 384x1x6x3"),
        warm_up=10,
        user=Interaction(boxes=0.55, mask_prompts=0.75),
        scenes=SceneOptions(radius_px=(5.0, 256.0), sections=0.45, drift_px=2.5),
    ),
    SceneStage(
        "last",
        960,
        2.7e-4,
        _loads("256x2x16 256x2x16 256x2x16 384x1x24 512x1x20 512x1x20 128x3x8x5 128x3x8x5 192x1x10x6 256x1x8x5"),
        warm_up=1,
        user=Interaction(boxes=0.65, mask_prompts=0.75),
        scenes=SceneOptions(radius_px=(5.0, 256.0), sections=0.45, drift_px=2.0),
    ),
    SceneStage(
        "longer clips",
        2470,
        3e-4,
        _loads("256x2x16 384x1x24 512x1x20 512x1x20 128x3x8x5 128x3x8x5 128x2x8x8 192x1x10x6 256x1x8x5 256x1x8x5"),
        warm_up=20,
        last_rate=0.02,
        user=Interaction(boxes=0.65, mask_prompts=0.8),
        scenes=SceneOptions(
            radius_px=(5.0, 256.0), sections=0.25, drift_px=2.0, families=(*FAMILIES, "cells", "rods", "phase contrast")
        ),
    ),
)
"""How `nano` is trained. The first weights went this way too, but met `initialise` after the prompts, not before."""
