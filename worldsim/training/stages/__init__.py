"""The stages of training, one class a file, over one shared claim, fit and record."""
