//! plenary-tests
