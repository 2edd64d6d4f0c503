//! The outside world for demo and tests.
