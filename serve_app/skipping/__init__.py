"""Past requests by which others skip the decision: the file that holds them, and the look-up of the most similar."""
