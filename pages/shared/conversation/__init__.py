"""A conversation on a page: its turns, its answers as they come, and what is handed to it."""
