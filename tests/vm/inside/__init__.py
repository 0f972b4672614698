"""What runs inside of the machines only."""
