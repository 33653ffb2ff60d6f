"""Transcripts: of recordings one after another, of live speech, corrected, and as files."""
