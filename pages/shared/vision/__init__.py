"""Pictures on a page."""
