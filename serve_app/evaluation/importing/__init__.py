"""Published answers, in the formats of their publishers, converted to records."""
