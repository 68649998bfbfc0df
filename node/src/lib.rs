//! One node of Plenary: workers, links, control and the command line, around the pure cores.

pub mod link;
