"""A fleet in one process and in virtual time: the real coordinators and workers among faults."""
