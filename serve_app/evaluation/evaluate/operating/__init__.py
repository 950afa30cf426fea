"""What a cascade does as it is, under pressure, and while its scorer is away."""
