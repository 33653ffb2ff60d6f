"""Sound: decoded for models, and encoded for browsers."""
