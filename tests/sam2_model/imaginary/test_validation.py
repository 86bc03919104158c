from sam2_model.imaginary.validation import ValidationOptions, validate
from tests.sam2_model.small import small_model


def test_validation_gives_the_same_scores_twice() -> None:
    options = ValidationOptions(image_sizes=(64,), images=1, clips=2, clip_size=64, objects=2)
    model = small_model().eval()
    assert validate(model, options) == validate(model, options)
