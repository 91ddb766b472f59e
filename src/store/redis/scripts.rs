//! The scripts that decide on the server. Each call is one script, so that it takes effect as a whole or not at all.

use std::sync::LazyLock;

use redis::{Cmd, Script};

macro_rules! script {
    ($name:literal) => {
        LazyLock::new(|| {
            Source::new(concat!(
                include_str!("scripts/common.lua"),
                include_str!(concat!("scripts/", $name, ".lua"))
            ))
        })
    };
}

pub(super) static CLAIM: LazyLock<Source> = script!("claim");
pub(super) static RENEW: LazyLock<Source> = script!("renew");
pub(super) static COMPLETE: LazyLock<Source> = script!("complete");
pub(super) static RELEASE: LazyLock<Source> = script!("release");
pub(super) static FORGET: LazyLock<Source> = script!("forget");
pub(super) static CLEAR: LazyLock<Source> = LazyLock::new(|| Source::new(include_str!("scripts/clear.lua")));

/// A script and the digest that the server names it by.
pub(super) struct Source {
    code: &'static str,
    digest: String,
}

/// One call of a script.
pub(super) struct Call {
    source: &'static Source,
    keys: Vec<Vec<u8>>,
    arguments: Vec<Vec<u8>>,
}

impl Source {
    fn new(code: &'static str) -> Self {
        Self {
            code,
            digest: Script::new(code).get_hash().to_owned(),
        }
    }

    /// Makes a call. All keys must share one slot.
    pub(super) fn call(&'static self, keys: Vec<Vec<u8>>, arguments: Vec<Vec<u8>>) -> Call {
        Call {
            source: self,
            keys,
            arguments,
        }
    }
}

impl Call {
    /// Names the script. A server that has lost it refuses with NOSCRIPT.
    pub(super) fn by_digest(&self) -> Cmd {
        self.command("EVALSHA", &self.source.digest)
    }

    /// Sends the script itself, and makes the server keep it.
    pub(super) fn by_code(&self) -> Cmd {
        self.command("EVAL", self.source.code)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command
            .arg(script)
            .arg(self.keys.len())
            .arg(&self.keys)
            .arg(&self.arguments);
        command
    }
}
