from sam2_model.training.batches import MIN_AREA_PX
from tests.sam2_model.small import small_batch


def test_a_batch_asks_for_objects_that_are_there() -> None:
    batch = small_batch(0, frames=2)
    assert batch.images.shape == (2, 1, 3, 64, 64)
    assert batch.masks.shape == (2, 3, 1, 64, 64)
    assert batch.owner.tolist() == [0, 0, 0]
    assert (batch.masks[0].flatten(1).sum(1) >= MIN_AREA_PX).all()
