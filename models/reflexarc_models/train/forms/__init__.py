"""The forms a model travels in: the student, the forest itself, the manifest around them, and the gates before it is written."""
