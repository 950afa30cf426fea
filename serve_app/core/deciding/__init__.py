"""Answers -> agreement -> decision: pure functions, which serving and evaluation share."""
