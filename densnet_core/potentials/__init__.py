"""Trained models as users hold them, and the forms in which they are deployed."""
