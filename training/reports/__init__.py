"""Reports: model cards, version pages, figures."""
