"""`cascade collect`: ask every model every example once."""
