"""Signals that are computed from other signals."""
