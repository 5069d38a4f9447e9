"""What a log is called on fleets: by its id, and by its incarnation too once it was moved and adopted elsewhere.

Queues are named so, and signatures made over it. So messages of a log as it was before it moved never meet it.
"""

_OF = "~"
# No dot: rights at the broker are given by patterns that count them.


def called(log_id: str, incarnation: str) -> str:
    """Return what a log is called; the incarnation of one that was never adopted is empty."""
    return f"{log_id}{_OF}{incarnation}" if incarnation else log_id


def log_of(name: str) -> str:
    """Return the id of the log that is called so."""
    return name.partition(_OF)[0]
