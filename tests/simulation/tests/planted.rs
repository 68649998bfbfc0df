//! The harness is believed because it catches what is planted.

use std::fmt::Write;

use plenary_cluster::simulation::Bug;
use plenary_simulation::planted::hunt;

/// Seeds that each bug has to be caught within.
const BUDGET: u64 = 200;

#[test]
fn every_planted_bug_is_caught() {
    // A panic of a simulated node is a finding; its backtrace would drown the table.
    std::panic::set_hook(Box::new(|_| {}));
    let mut table = String::new();
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        let catch = hunt(*bug, 0..BUDGET);
        if catch.caught.is_none() {
            missed.push(bug.name());
        }
        writeln!(table, "{catch}").expect("a string takes what is written to it");
    }
    drop(std::panic::take_hook());
    assert!(Bug::ALL.len() >= 20, "so many bugs are asked for");
    assert!(missed.is_empty(), "not caught: {missed:?}\n{table}");
    std::io::Write::write_all(&mut std::io::stdout(), table.as_bytes()).expect("the table is told");
}
