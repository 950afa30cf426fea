"""Answers that somebody else recorded, in the formats of their publishers, made into records."""
