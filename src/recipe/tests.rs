//! Recipe errors, as users see them.
