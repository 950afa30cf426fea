"""Files of text that users write or that commands append to: the only readers of JSON Lines and of prompts."""
