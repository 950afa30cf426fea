"""`cascade choose`: members, signals and thresholds for a budget."""
