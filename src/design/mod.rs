//! Word rows to TR rows: Lanczos, trim, z-score, delays.
