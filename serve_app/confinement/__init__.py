"""Processes of their own for what others bring along: how they start, and what they may do."""
