"""Content interest: item factors, links, and the claim about the next items, trained and measured."""
