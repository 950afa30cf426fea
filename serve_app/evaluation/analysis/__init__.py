"""What a cascade would have done, on recorded answers: the decision, qualities, costs."""
