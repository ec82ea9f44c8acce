"""One task, from the words on the command line to a folder of results."""
