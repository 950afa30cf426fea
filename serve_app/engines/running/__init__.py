"""What engines share while they run: slots, threads, cancellation, answers and failures."""
