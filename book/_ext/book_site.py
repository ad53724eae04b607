"""What the theme needs to be offline."""
