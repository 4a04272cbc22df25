"""What is decided at the site, with or without the internet: quality flags and stages."""
