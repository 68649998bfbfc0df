//! Meeting passwords: Argon2id, off the async threads, a few at a time.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Hashes at once. Each takes ~20 MiB and tens of milliseconds of a core; media must keep the others.
const AT_ONCE: usize = 2;

/// Hashing did not happen: a fault of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("password hashing failed")]
pub struct PasswordError;

/// Hashes and verifies passwords.
#[derive(Debug)]
pub struct Passwords {
    permits: Semaphore,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { permits: Semaphore::new(AT_ONCE) }
    }
}

impl Passwords {
    /// The Argon2id PHC string of a password, with a fresh salt.
    ///
    /// # Errors
    /// [`PasswordError`] when hashing itself fails.
    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        let _permit = self.permits.acquire().await.map_err(|_| PasswordError)?;
        let hashed =
            spawn_blocking(move || Argon2::default().hash_password(password.as_bytes()).map(|h| h.to_string()));
        hashed.await.map_err(|_| PasswordError)?.map_err(|_| PasswordError)
    }

    /// Whether this is the password of a PHC string.
    ///
    /// # Errors
    /// [`PasswordError`] when the stored string can't be read or hashing itself fails.
    pub async fn verify(&self, password: String, phc: String) -> Result<bool, PasswordError> {
        let _permit = self.permits.acquire().await.map_err(|_| PasswordError)?;
        let verified = spawn_blocking(move || {
            let hash = PasswordHash::new(&phc).map_err(|_| PasswordError)?;
            Ok(Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
        });
        verified.await.map_err(|_| PasswordError)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_passes() {
        let passwords = Passwords::default();
        let phc = passwords.hash("secure123".to_owned()).await.unwrap();
        assert!(phc.starts_with("$argon2id$"));
        assert!(passwords.verify("secure123".to_owned(), phc.clone()).await.unwrap());
        assert!(!passwords.verify("secure124".to_owned(), phc).await.unwrap());
        assert_eq!(passwords.verify("x".to_owned(), "nonsense".to_owned()).await, Err(PasswordError));
    }
}
