"""Recordings and transcripts on a page."""
