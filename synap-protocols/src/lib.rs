//! The doors as translators.
