//! Words to one row of numbers a word.
