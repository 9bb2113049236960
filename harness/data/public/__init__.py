"""Feature sets that anybody can fetch: joined from original files in public repositories.

``originals`` pins the files, ``joins`` reads them, ``sets`` makes feature tables from them. A
dataset's own file in ``harness/data/sets/`` says which of them it has.
"""
