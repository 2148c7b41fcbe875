"""Network architectures that fertrack has code for."""
