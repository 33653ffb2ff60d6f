"""An engine in a process of its own: the host's side, the worker's, and the line between them."""
