"""Encoder-decoder models (T5, mT5, BART) by transformers, batched as they come."""
