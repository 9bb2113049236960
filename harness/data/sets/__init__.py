"""One file per dataset: a card and how it is parsed."""
