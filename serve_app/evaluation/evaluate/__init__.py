"""`cascade evaluate`: every signal and threshold on recorded answers."""
