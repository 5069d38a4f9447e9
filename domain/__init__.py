"""What Stackledger is about: events, commands and the pure rules that turn one into the other.

Nothing here reads a clock, draws an id or touches a file; time and ids come in with the command.
"""
