"""paqa: audio in, perception-grounded question answering out."""

__version__ = "0.1.0"
