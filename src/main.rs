//! The `voxelcast` command.
fn main() {}
