"""One command line verb or group a file; each is a thin face over an operation."""
