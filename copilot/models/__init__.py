"""Where base models come from: a hub, a folder, a verified GGUF, or random tiny weights for tests."""
