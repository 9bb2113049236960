"""Tables of what the store holds, beside what was published."""
