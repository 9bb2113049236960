"""Feature sets joined from original files in public repositories, which anybody can fetch.

``originals`` pins the files, ``joins`` reads them, ``sets`` makes feature tables from them. A
dataset's own file in ``harness/data/sets/`` lists its sets.
"""
