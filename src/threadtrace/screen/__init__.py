"""What ``threadtrace top`` shows: news, rows, columns, order. Pure, and without a terminal."""
