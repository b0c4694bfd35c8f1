"""The shipped layers, one concern a file."""
