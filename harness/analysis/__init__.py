"""Analysis of stored results: values over seeds, costs, tests of differences, claims."""
