"""What both services' databases share: transactions, migrations, arrays as bytes. Each service has its own schema."""
