"""The version of this package, which rows and the keys of rows hold."""

__version__ = "0.1.0"
