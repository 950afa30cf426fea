"""Records as past requests, by which others skip the decision."""
