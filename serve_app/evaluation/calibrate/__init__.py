"""`cascade calibrate`: the thresholds for a goal."""
