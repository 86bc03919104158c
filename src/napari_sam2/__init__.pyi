from .api import Segmentation as Segmentation
from .api import propagate as propagate
from .api import segment as segment
from .labels.prompts import prompts_from_labels as prompts_from_labels
from .prompts import BoxPrompt as BoxPrompt
from .prompts import MaskPrompt as MaskPrompt
from .prompts import PointPrompt as PointPrompt
from .training.finetune import finetune as finetune

__version__: str
