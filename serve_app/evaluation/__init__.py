"""Evaluation: examples, one answer of every model to each, and what a cascade over them would have done."""
