"""The report of an evaluation: an HTML page that works offline, Markdown, CSV, JSON, and PNGs of the curves."""
