//! What a run says: progress to standard error, results to standard output.

use std::fmt::Display;
use std::time::Duration;

/// Something a person may want to know meanwhile.
#[expect(clippy::print_stderr, reason = "progress of a program for people")]
pub(crate) fn tell(line: impl Display) {
    eprintln!("{line}");
}

/// A line of results.
#[expect(clippy::print_stdout, reason = "figures are this program's result")]
pub(crate) fn say(line: impl Display) {
    println!("{line}");
}

/// A duration in milliseconds.
pub(crate) fn millis(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1000.0)
}

/// Bytes in MiB.
#[expect(clippy::cast_precision_loss, reason = "a tenth of a MiB is exact enough")]
pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

/// The middle one; of an even number the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }
}
