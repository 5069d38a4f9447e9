"""What coordinators and workers say to each other, and when; without input or output."""
