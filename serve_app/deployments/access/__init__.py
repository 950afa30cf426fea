"""Who may ask: API keys, and the limits of each."""
