"""Views: what of an answer is compared, as a deterministic function of its text."""
