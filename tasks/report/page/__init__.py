"""The page that every training and evaluation ends with: one HTML file, with nothing outside it."""
