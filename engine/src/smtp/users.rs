//! Those who may log in, and whether somebody knows a password: PLAIN and LOGIN (RFC 4616), CRAM-MD5 (RFC 2195),
//! SCRAM-SHA-256 (RFC 5802, RFC 7677).
//!
//! Passwords are compared as bytes; they are not normalised (RFC 4013) first. Comparing takes as long for a wrong password as
//! for a right one, and an unknown user is treated to the same exchange.

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use data_encoding::HEXLOWER;
use hmac_md5::{KeyInit, Mac};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::OnceLock;

/// Rounds of SCRAM's key derivation: RFC 7677 4 asks for at least these.
pub const SCRAM_ROUNDS: NonZeroU32 = NonZeroU32::new(4096).unwrap();

/// Users and their passwords.
pub struct Users {
    by_name: HashMap<String, User>,
    /// Those whose passwords are the system's: `authentication-method system`.
    of_system: HashSet<String>,
    /// Makes the salts.
    key: hmac::Key,
}

struct User {
    password: String,
    /// Derived when SCRAM first asks for it: it takes a millisecond.
    salted: OnceLock<[u8; digest::SHA256_OUTPUT_LEN]>,
}

/// Names only: passwords are not for logs.
impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).entries(&self.of_system).finish()
    }
}

impl Users {
    /// Names with their passwords; `key` must be secret and may change with every start.
    pub fn new(users: impl IntoIterator<Item = (String, String)>, key: &[u8; 32]) -> Users {
        let user = |(name, password)| (name, User { password, salted: OnceLock::new() });
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        Users { by_name: users.into_iter().map(user).collect(), of_system: HashSet::new(), key }
    }

    /// Those too who have an account of this name on the system.
    #[must_use]
    pub fn with_system(mut self, names: impl IntoIterator<Item = String>) -> Users {
        self.of_system.extend(names);
        self
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty() && self.of_system.is_empty()
    }

    /// Whether there are users whose passwords we know.
    pub fn have_passwords(&self) -> bool {
        !self.by_name.is_empty()
    }

    /// Whether the system is asked for passwords.
    pub fn ask_system(&self) -> bool {
        !self.of_system.is_empty()
    }

    /// The account whose password the system is to be asked for, and whether its owner may log in with it. Who has none is
    /// compared with somebody else: a wrong name takes as long as a wrong password.
    pub fn account<'a>(&'a self, name: &'a str) -> Option<(&'a str, bool)> {
        match self.of_system.contains(name) {
            true => Some((name, true)),
            false => self.of_system.iter().next().map(|other| (other.as_str(), false)),
        }
    }

    /// Whether the password is this user's; `None` where the system is to be asked, which it is for users nobody knows too.
    pub fn judge(&self, name: &str, password: &str) -> Option<bool> {
        (self.by_name.contains_key(name) || !self.ask_system()).then(|| self.knows_password(name, password))
    }

    fn knows_password(&self, name: &str, password: &str) -> bool {
        // Digests have one length, so that the time tells nothing of the password's.
        let digest = |text: &str| hmac::sign(&self.key, text.as_bytes());
        let right = digest(self.by_name.get(name).map_or("", |user| &user.password));
        let same = constant_time::verify_slices_are_equal(digest(password).as_ref(), right.as_ref()).is_ok();
        same && self.by_name.contains_key(name)
    }

    /// Whether `answer`, in hexadecimal, is what the user's password makes of the challenge.
    pub fn answers_cram_md5(&self, name: &str, challenge: &str, answer: &str) -> bool {
        let user = self.by_name.get(name);
        let password = user.map_or("", |user| &user.password);
        // A key of any length will do.
        let Ok(mut mac) = hmac_md5::Hmac::<md5::Md5>::new_from_slice(password.as_bytes()) else {
            return false;
        };
        mac.update(challenge.as_bytes());
        let given = HEXLOWER.decode(answer.to_ascii_lowercase().as_bytes()).unwrap_or_default();
        mac.verify_slice(&given).is_ok() && user.is_some()
    }

    /// The salt of a user, known or not.
    pub fn salt(&self, name: &str) -> [u8; 16] {
        let mut salt = [0; 16];
        salt.copy_from_slice(&hmac::sign(&self.key, name.as_bytes()).as_ref()[..16]);
        salt
    }

    /// Whether `proof` is a client's over `exchange` (RFC 5802 3, `AuthMessage`); with it what proves us to the client.
    pub fn proves_scram(&self, name: &str, exchange: &str, proof: &[u8]) -> Option<Vec<u8>> {
        let user = self.by_name.get(name)?;
        let salted = user.salted.get_or_init(|| {
            let mut salted = [0; digest::SHA256_OUTPUT_LEN];
            let (salt, password) = (self.salt(name), user.password.as_bytes());
            pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, SCRAM_ROUNDS, &salt, password, &mut salted);
            salted
        });
        let sign =
            |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
        let client_key = sign(salted, "Client Key");
        let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
        let signature = sign(stored_key.as_ref(), exchange);
        let expected: Vec<u8> =
            client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        constant_time::verify_slices_are_equal(&expected, proof).ok()?;
        let server_key = sign(salted, "Server Key");
        Some(sign(server_key.as_ref(), exchange).as_ref().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::BASE64;

    fn users() -> Users {
        let users = [("tim", "tanstaaftanstaaf"), ("user", "pencil"), ("open", "")];
        Users::new(users.map(|(name, password)| (name.to_owned(), password.to_owned())), &[7; 32])
    }

    #[test]
    fn passwords() {
        let users = users();
        assert!(users.knows_password("tim", "tanstaaftanstaaf"));
        for (name, password) in [("tim", "pencil"), ("Tim", "tanstaaftanstaaf"), ("tim", ""), ("nobody", "")]
        {
            assert!(!users.knows_password(name, password), "{name}");
        }
    }

    /// The example of RFC 2195 2.
    #[test]
    fn cram_md5() {
        let users = users();
        let challenge = "<1896.697170952@postoffice.reston.mci.net>";
        let answer = "b913a602c7eda7a495b4e6e7334d3890";
        assert!(users.answers_cram_md5("tim", challenge, answer));
        assert!(users.answers_cram_md5("tim", challenge, &answer.to_uppercase()));
        for (name, answer) in
            [("user", answer), ("nobody", answer), ("tim", ""), ("tim", "b913"), ("tim", "xyz")]
        {
            assert!(!users.answers_cram_md5(name, challenge, answer), "{name} {answer}");
        }
        // HMAC-MD5 of an empty key: what an unknown user would be let in with if its password were taken for empty.
        assert!(!users.answers_cram_md5("nobody", "", "74e6f7298a9c2d168935f58c001bad88"));
    }

    /// The example of RFC 7677 3, whose salt is not ours.
    #[test]
    fn scram() {
        let users = users();
        let mut salted = [0; digest::SHA256_OUTPUT_LEN];
        let salt = BASE64.decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, SCRAM_ROUNDS, &salt, b"pencil", &mut salted);
        users.by_name["user"].salted.set(salted).unwrap();
        let exchange = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let proof = BASE64.decode(b"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let ours = users.proves_scram("user", exchange, &proof).unwrap();
        assert_eq!(BASE64.encode(&ours), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert_eq!(users.proves_scram("user", exchange, &proof[1..]), None);
        assert_eq!(users.proves_scram("tim", exchange, &proof), None);
        assert_eq!(users.proves_scram("nobody", exchange, &proof), None);
    }

    #[test]
    fn passwords_are_not_printed() {
        assert!(!format!("{:?}", users()).contains("pencil"));
    }
}
