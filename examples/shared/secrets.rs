//! The secrets that the nodes of a store share.

use std::{
    env::{self, VarError},
    fs,
    path::Path,
};

use tower_offer_dedup::store::RedisOptions;
use tracing::warn;

const VARIABLE: &str = "OFFER_DEDUP_SECRET";

/// For a first try on one machine. Anyone can read it here.
const PUBLIC: &str = "the public secret of the examples";

/// The secrets. Never shown.
pub(super) enum Secrets {
    /// Both secrets are derived from it.
    One(String),
    Apart {
        digest: [u8; 32],
        sealing: Vec<[u8; 32]>,
    },
}

/// Reads the secrets from the file, else from the environment.
pub(super) fn find(file: Option<&Path>, is_local: bool) -> Result<Secrets, String> {
    if let Some(file) = file {
        let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        return parse(&text).map_err(|error| format!("{}: {error}", file.display()));
    }
    match env::var(VARIABLE) {
        Ok(text) => parse(&text).map_err(|error| format!("{VARIABLE}: {error}")),
        Err(VarError::NotUnicode(_)) => Err(format!("{VARIABLE}: it is not text")),
        Err(VarError::NotPresent) if is_local => {
            warn!("uses a secret that is public: set {VARIABLE} or --secret-file outside a first try");
            Ok(Secrets::One(PUBLIC.to_owned()))
        }
        Err(VarError::NotPresent) => Err(format!(
            "the nodes' secret is missing: set {VARIABLE} or --secret-file, for example to the output of \
             `openssl rand -hex 32`"
        )),
    }
}

/// One secret of at least 16 bytes, or `digest=HEX` and one or more `sealing=HEX`, of which the first one seals.
fn parse(text: &str) -> Result<Secrets, &'static str> {
    let words: Vec<_> = text.split_whitespace().collect();
    if let [secret] = words[..]
        && !secret.starts_with("digest=")
        && !secret.starts_with("sealing=")
    {
        return match secret.len() {
            16.. => Ok(Secrets::One(secret.to_owned())),
            _ => Err("the secret is shorter than 16 bytes"),
        };
    }
    let (mut digests, mut sealing) = (Vec::new(), Vec::new());
    for word in words {
        let (keys, digits) = match word.split_once('=') {
            Some(("digest", digits)) => (&mut digests, digits),
            Some(("sealing", digits)) => (&mut sealing, digits),
            _ => return Err("expected one secret, or digest=HEX and sealing=HEX"),
        };
        keys.push(key(digits).ok_or("a key is not 64 hexadecimal digits")?);
    }
    match digests[..] {
        [digest] if !sealing.is_empty() => Ok(Secrets::Apart { digest, sealing }),
        _ => Err("expected one secret, or one digest=HEX and at least one sealing=HEX"),
    }
}

fn key(digits: &str) -> Option<[u8; 32]> {
    let is_key = digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_key.then(|| std::array::from_fn(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("two digits")))
}

impl Secrets {
    pub(super) fn add_to(self, options: RedisOptions) -> RedisOptions {
        match self {
            Self::One(secret) => options.secret(secret),
            Self::Apart { digest, sealing } => sealing
                .into_iter()
                .fold(options.digest_secret(digest), RedisOptions::sealing_key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_secrets_are_errors() {
        let key = "0f".repeat(32);
        let wrong = [
            ("", "expected one secret"),
            ("too short", "expected one secret"),
            ("fifteen-bytes..", "shorter than 16 bytes"),
            (&format!("digest={key}"), "at least one sealing"),
            (&format!("sealing={key}"), "one digest"),
            (&format!("digest={key} digest={key} sealing={key}"), "one digest"),
            (&format!("digest={key} sealing={}", &key[1..]), "64 hexadecimal digits"),
            (&format!("digest={key} sealing={}é", &key[2..]), "64 hexadecimal digits"),
        ];
        for (text, expected) in wrong {
            let Err(error) = parse(text) else {
                panic!("{text} is wrong");
            };
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn secrets_are_read_in_both_forms() {
        assert!(matches!(parse("sixteen-bytes..=\n"), Ok(Secrets::One(secret)) if secret == "sixteen-bytes..="));
        let (digest, old, new) = ("0F".repeat(32), "01".repeat(32), "02".repeat(32));
        let apart = parse(&format!("digest={digest}\nsealing={new}\nsealing={old}\n"));
        let Ok(Secrets::Apart { digest, sealing }) = apart else {
            panic!("the keys are right");
        };
        assert_eq!((digest, sealing), ([15; 32], vec![[2; 32], [1; 32]]));
    }
}
