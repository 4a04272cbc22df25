"""The adaptive controller behind other people's interfaces."""
