//! Stories: timed words.
