"""Stand-ins for other operators, whose constants lie in the order that a fast kernel reads."""
