"""Many machines' records, read and kept as little more than what is told of them."""
