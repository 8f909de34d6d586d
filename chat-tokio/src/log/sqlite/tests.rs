//! What only a log in a file can get wrong.
