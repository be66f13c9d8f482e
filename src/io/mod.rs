//! Bytes in, plain values out: the file formats. Knows formats, not stories.
