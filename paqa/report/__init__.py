"""`paqa report`: a build as pages that open from disk, without a network, to read and to listen to."""
