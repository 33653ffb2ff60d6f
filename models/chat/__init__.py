"""Conversations: messages, the OpenAI form of them, and calls of tools in what models write."""
