"""The formats that recorded answers are published in: one module each, which reads files into rows."""
