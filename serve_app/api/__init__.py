"""The HTTP APIs over FastAPI, no Ray: what they share, and a room for each."""
