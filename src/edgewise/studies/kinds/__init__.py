"""Kinds of studies: where the data come from, and how a model is made of both."""
