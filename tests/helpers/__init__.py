"""What several test folders share: small real parts with known answers."""
