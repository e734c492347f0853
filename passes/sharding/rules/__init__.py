"""The rules, a file for each kind of operation; the files here are the list."""
