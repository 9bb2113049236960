"""From a suite to a plan: an immutable list of runs."""
