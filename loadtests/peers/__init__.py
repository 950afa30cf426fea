"""Other projects beside ours: their environments, their decisions on our records, and their proxy under our load."""
