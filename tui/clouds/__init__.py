"""Machines that can be rented, behind one narrow interface; no Textual."""
