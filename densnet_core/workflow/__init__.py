"""The stages of a run, their currency and their resumption."""
