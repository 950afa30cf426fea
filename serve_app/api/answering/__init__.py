"""One request and its answer, plain or streamed, whatever API it came by."""
