"""The models that separate, diarize, tag and transcribe: a file each; `base` has protocol and registry."""
