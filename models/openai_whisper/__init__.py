"""What openai-whisper leaves to its caller: reading other files, and segments as they are ready."""
