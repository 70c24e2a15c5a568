"""What a user can do, one verb a file; the command line and the screens are two faces over these."""
