"""What both services' databases share: settings, transactions, columns, migrations, arrays as bytes; not schemas."""
