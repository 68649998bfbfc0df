//! Waiting for conditions.

use std::time::Duration;

use anyhow::{Context, Result};

/// How long a condition may take when a test says nothing else: far longer than it should on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until `condition` gives a value, [`DEADLINE`] at most.
///
/// # Errors
/// Names `what` did not come about, with the last error of the condition, which means "not yet" till then.
pub async fn until<T>(what: &str, condition: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    until_within(DEADLINE, what, condition).await
}

/// Waits until `condition` gives a value, `limit` at most.
///
/// # Errors
/// As [`until`].
pub async fn until_within<T>(
    limit: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let mut last = anyhow::anyhow!("it stayed so");
    let looking = async {
        loop {
            match condition().await {
                Ok(Some(value)) => return value,
                Ok(None) => {}
                Err(error) => last = error,
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let found = tokio::time::timeout(limit, looking).await;
    match found {
        Ok(value) => Ok(value),
        Err(_) => Err(last).with_context(|| format!("not within {limit:?}: {what}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_that_never_comes_is_named_with_its_last_error() {
        let never = until_within(Duration::from_millis(50), "the moon is green", async || -> Result<Option<()>> {
            anyhow::bail!("it is white")
        });
        let error = format!("{:#}", never.await.expect_err("it never comes"));
        assert!(error.contains("the moon is green") && error.contains("it is white"), "{error}");
    }

    #[tokio::test]
    async fn a_condition_is_looked_at_until_it_holds() {
        let mut looks = 0;
        let value = until("third look", async || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(value.await.expect("it holds"), 3);
    }
}
