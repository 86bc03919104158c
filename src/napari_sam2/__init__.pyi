from .api import Segmentation as Segmentation
from .api import examples_of as examples_of
from .api import propagate as propagate
from .api import segment as segment
from .api import segment_everything as segment_everything
from .inference.predictor import Example as Example
from .labels.prompts import prompts_from_labels as prompts_from_labels
from .labels.seeds import seeds_from_maxima as seeds_from_maxima
from .prompts import BoxPrompt as BoxPrompt
from .prompts import MaskPrompt as MaskPrompt
from .prompts import PointPrompt as PointPrompt
from .training.finetune import finetune as finetune

__version__: str
