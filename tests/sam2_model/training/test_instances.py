import torch

from sam2_model.training.instances import instance_target


def test_instance_targets_point_at_the_middle_and_mark_outlines() -> None:
    labels = torch.zeros(2, 32, 32, dtype=torch.int32)
    labels[0, 8:24, 8:24] = 1
    labels[1, 8:24, 8:16] = 1
    labels[1, 8:24, 16:24] = 2
    target = instance_target(labels)
    assert target.objects[0, 0].sum() == 16
    assert (target.offsets[0, 0, 2, 2:6] > 0).all()
    assert (target.offsets[0, 1, 2:6, 5] < 0).all()
    assert target.offsets[:, :, 0, 0].abs().max() == 0
    assert target.outlines[0, 0, 4, 4] == 0
    assert target.outlines[1, 0, 4, 4] == 1
    assert target.offsets[1, 1, 4, 3] < 0
