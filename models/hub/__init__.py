"""Getting the files of a checkpoint: what is on this machine already, the hubs, the package index."""

from models.hub.fetching import Hub
from models.hub.local import locate, verify

__all__ = ["Hub", "locate", "verify"]
