"""Generators of training conversations, one family of tasks a file."""
