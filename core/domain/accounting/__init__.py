"""What finance asks of the books: which month an entry is of, what became of points, and what will expire unused."""
