"""What both gRPC servers share: settings, TLS and tokens, errors, metrics, health, reflection, shutdown."""
