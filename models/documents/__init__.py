"""Documents: files that people attach to a question, read as text."""
