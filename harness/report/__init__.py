"""Tables and figures of stored results, beside published figures."""
