"""A record as one HTML file. The only part of the presentation that needs matplotlib and jinja2."""
