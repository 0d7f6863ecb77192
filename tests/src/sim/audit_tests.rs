//! The auditor can fail.
