"""What runs headrace: embedded parts, topics, supervision, settings and the command line."""
