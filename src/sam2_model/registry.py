"""The models known by name: where their weights are published, what they must hash to, and where they lie on this disk.

Nothing here touches the network except `download`, and nothing is put under its final name before its size and SHA-256
are those published. Meta publishes no checksums; these agree in several independent places.
"""

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from huggingface_hub import constants, hf_hub_url, try_to_load_from_cache

from sam2_model.config import CONFIGS, Release
from sam2_model.errors import CheckpointError, ConfigError, DownloadError
from sam2_model.transfer import Progress, fetch

logger = logging.getLogger(__name__)

EMBEDDED = "nano"
"""The model that is part of the package."""
