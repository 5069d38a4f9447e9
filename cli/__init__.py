"""The command line: each command parses, calls one method of the client and prints one result."""
