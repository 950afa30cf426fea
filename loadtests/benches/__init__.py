"""Benchmarks, each a program of its own: what is measured as ratios in one run, and simulations of fleets."""
