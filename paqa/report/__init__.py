"""`paqa report`: plain files in which a build is looked at and listened to, from disk and without a
network.
"""
