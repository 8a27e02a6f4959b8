"""Traces as files for training: their `rows`, the author-by-coder `matrix`, and what `overlap` leaves out."""
