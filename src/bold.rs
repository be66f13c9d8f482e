//! Measured responses: one story at a time, in voxel tiles.
