"""One file for each group of pages: a function takes a Visit and gives a Response. routes.py says which and when."""
