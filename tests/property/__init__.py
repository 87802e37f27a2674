"""Random graphs through the compiler."""
