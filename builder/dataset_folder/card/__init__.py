"""What a published folder says of itself: the card, its plots and Croissant, from facts alone."""
