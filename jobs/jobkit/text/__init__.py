"""Texts: what the text classification jobs share, from a row's content to a served model."""
