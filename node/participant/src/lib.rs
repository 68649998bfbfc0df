//! plenary-participant
