"""One servicer per service: decode, call, encode. No rule of the product lives here."""
