//! What a Debian base is made of: which packages, in which layers, and what their scripts would have done.
//!
//! Pure decisions: indexes, control files and file contents come in, package lists and generated
//! entries go out.

pub mod select;
