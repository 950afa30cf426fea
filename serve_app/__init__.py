"""Serve several small language models as a cascade that asks a larger one only when their answers disagree."""

__version__ = "0.2.0"
