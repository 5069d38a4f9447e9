"""Keys of the fleet, where private ones are kept, and whose word counts."""
