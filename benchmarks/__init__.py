"""Figures that the documents quote, measured on real servers; each ends with lines `RESULT name=value`."""
