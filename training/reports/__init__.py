"""Model cards, version pages and figures."""
