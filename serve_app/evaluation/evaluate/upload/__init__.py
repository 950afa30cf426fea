"""Records that somebody drops on the page: what may be evaluated of them, in a process that may do nothing else."""
