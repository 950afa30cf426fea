"""What the latency benchmark is made of: models that are clocks, their answers, and the time they run in."""
