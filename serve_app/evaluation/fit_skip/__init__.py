"""`cascade fit-skip`: from records to the file of past requests that a cascade's `skip` names."""
