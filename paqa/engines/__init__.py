"""The models that listen. One file per engine; `base.py` has the protocol and the registry."""
