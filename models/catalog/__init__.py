"""Which checkpoints there are, and what a file or folder is."""

from models.catalog.formats import SINGLE_FILES, format_of
from models.catalog.names import allowed, default, family, find
from models.catalog.recognise import describe
from models.catalog.table import CHECKPOINTS

__all__ = ["CHECKPOINTS", "SINGLE_FILES", "allowed", "default", "describe", "family", "find", "format_of"]
